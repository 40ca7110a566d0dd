/** Thin bars drawn as SVG: widths are attributes, so they need no inline style. */
import { html, svg } from "lit";
import type { TemplateResult } from "lit";

/** One share of a whole, [0, 1]; the number stands beside it in text, so the drawing is hidden from screen readers. */
export function shareBar(share: number): TemplateResult {
  return html`<svg class="share" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
    <rect class="track" width="100" height="10"></rect>
    <rect class="fill" width=${Math.max(0.5, Math.min(1, share) * 100)} height="10"></rect>
  </svg>`;
}

export interface MeterParts {
  used: number;
  reserved: number;
  limit: number;
}

/** Used, reserved and free tokens of the window; what does not fit is drawn over the whole width in the error color. */
export function windowMeter({ used, reserved, limit }: MeterParts): TemplateResult {
  const scale = 100 / Math.max(1, limit);
  const usedWidth = Math.min(100, used * scale);
  const reservedWidth = Math.min(100 - usedWidth, reserved * scale);
  const over = used + reserved > limit;
  return html`<svg class="meter" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
    <rect class="track" width="100" height="10"></rect>
    ${svg`<rect class=${over ? "over" : "fill"} width=${usedWidth} height="10"></rect>`}
    ${svg`<rect class="reserved" x=${usedWidth} width=${reservedWidth} height="10"></rect>`}
  </svg>`;
}

/** A progress bar with its numbers for assistive technology. */
export function progressBar(done: number, total: number, label: string): TemplateResult {
  const part = total > 0 ? Math.min(1, done / total) : 0;
  return html`<div
    class="progress"
    role="progressbar"
    aria-label=${label}
    aria-valuemin="0"
    aria-valuemax=${total}
    aria-valuenow=${done}
  >
    ${shareBar(part)}
  </div>`;
}
