/** The list of RoPE kinds, used by the lab and by the header's chip. */
import type { TemplateResult } from "lit";
import type { ModelSpec } from "../../engine/api.ts";
import { dropdown } from "../components/ui.ts";
import type { Playground } from "../playground.ts";
import { defaultRope, ropeDraft, ropeKindsOf, ropeLabel } from "../state/ropeDraft.ts";
import type { RopeKind } from "../state/ropeDraft.ts";

export function ropeKindField(
  kind: RopeKind,
  spec: ModelSpec | undefined,
  play: Playground,
  testId = "lc-chip-rope-kind",
): TemplateResult {
  return dropdown<RopeKind>({
    label: "Kind",
    value: kind,
    testId,
    disabled: !spec,
    options: kindsShown(kind, spec).map((value) => ({ value, text: ropeLabel(value, spec) })),
    onChange: (chosen) => {
      if (spec) play.editRope(ropeDraft(defaultRope(chosen, spec)));
    },
  });
}

/** What the model can have, and the setting as it is even where it cannot. */
function kindsShown(kind: RopeKind, spec: ModelSpec | undefined): readonly RopeKind[] {
  const kinds = spec ? ropeKindsOf(spec) : [kind];
  return kinds.includes(kind) ? kinds : [...kinds, kind];
}
