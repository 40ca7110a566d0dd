/**
 * The only importer of the webview toolkit, which is no longer developed upstream: replacing it means rewriting this file.
 * Every function is a lit template of one control.
 */
import {
  provideVSCodeDesignSystem,
  vsCodeButton,
  vsCodeCheckbox,
  vsCodeDropdown,
  vsCodeOption,
  vsCodeProgressRing,
  vsCodeTextArea,
  vsCodeTextField,
} from "@vscode/webview-ui-toolkit";
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import { ifDefined } from "lit/directives/if-defined.js";
import { live } from "lit/directives/live.js";
import { settled, typed, unlessTyping } from "./unlessTyping.ts";

/** Defines the elements; called once, before the first render. */
export function registerControls(): void {
  provideVSCodeDesignSystem().register(
    vsCodeButton(),
    vsCodeCheckbox(),
    vsCodeDropdown(),
    vsCodeOption(),
    vsCodeProgressRing(),
    vsCodeTextArea(),
    vsCodeTextField(),
  );
}

export interface ButtonOptions {
  label: string;
  onClick: () => void;
  primary?: boolean;
  disabled?: boolean;
  /** Why it is disabled, or what it does beyond its label. */
  title?: string;
  testId?: string;
}

export function button(options: ButtonOptions): TemplateResult {
  return html`<vscode-button
    appearance=${options.primary ? "primary" : "secondary"}
    ?disabled=${options.disabled ?? false}
    title=${ifDefined(options.title)}
    data-testid=${ifDefined(options.testId)}
    @click=${options.onClick}
    >${options.label}</vscode-button
  >`;
}

export interface Option<T extends string> {
  value: T;
  text: string;
  disabled?: boolean;
}

export interface DropdownOptions<T extends string> {
  label: string;
  value: T;
  options: readonly Option<T>[];
  onChange(value: T): void;
  disabled?: boolean;
  testId?: string;
}

/** A list to choose from; the label stands above it and names it. */
export function dropdown<T extends string>(options: DropdownOptions<T>): TemplateResult {
  const changed = (event: Event): void => {
    const chosen = options.options.find((option) => option.value === valueOf(event));
    if (chosen && chosen.value !== options.value) options.onChange(chosen.value);
  };
  return html`<div class="field">
    <span class="label">${options.label}</span>
    <vscode-dropdown
      aria-label=${options.label}
      data-testid=${ifDefined(options.testId)}
      data-value=${options.value}
      ?disabled=${options.disabled ?? false}
      .value=${live(options.value)}
      @change=${changed}
    >
      ${options.options.map(
        (option) =>
          html`<vscode-option
            value=${option.value}
            ?selected=${option.value === options.value}
            ?disabled=${option.disabled ?? false}
            >${option.text}</vscode-option
          >`,
      )}
    </vscode-dropdown>
  </div>`;
}

export interface TextOptions {
  label: string;
  value: string;
  /** Called when the text is final (blur or Enter). */
  onChange(value: string): void;
  problem?: string | undefined;
  help?: string;
  /** A unit or a bound, shown behind the label. */
  placeholder?: string;
  testId?: string;
}

/** One line of text with its label above, and its problem or its help below. */
export function textField(options: TextOptions): TemplateResult {
  return html`<div class="field">
    <span class="label">${options.label}</span>
    <vscode-text-field
      aria-label=${options.label}
      aria-invalid=${options.problem ? "true" : "false"}
      placeholder=${ifDefined(options.placeholder)}
      data-testid=${ifDefined(options.testId)}
      .value=${unlessTyping(options.value)}
      @input=${typed}
      @focusout=${settled}
      @change=${(event: Event) => {
        settled(event);
        options.onChange(valueOf(event));
      }}
    ></vscode-text-field>
    ${belowField(options)}
  </div>`;
}

/** Several lines of text that are read when the field is left. */
export function textList(options: TextOptions): TemplateResult {
  return html`<div class="field wide">
    <span class="label">${options.label}</span>
    <vscode-text-area
      aria-label=${options.label}
      rows="3"
      resize="vertical"
      data-testid=${ifDefined(options.testId)}
      .value=${unlessTyping(options.value)}
      @input=${typed}
      @focusout=${settled}
      @change=${(event: Event) => {
        settled(event);
        options.onChange(valueOf(event));
      }}
    ></vscode-text-area>
    ${belowField(options)}
  </div>`;
}

export interface QuestionBoxOptions {
  value: string;
  placeholder: string;
  onInput(value: string): void;
  onSubmit(): void;
  testId: string;
}

/** The question: Enter submits, Shift+Enter starts a line. An Enter that ends an input-method composition does neither. */
export function questionBox(options: QuestionBoxOptions): TemplateResult {
  const keyed = (event: KeyboardEvent): void => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    options.onSubmit();
  };
  return html`<vscode-text-area
    id="question"
    class="question"
    aria-label="Question about this workspace"
    rows="2"
    resize="vertical"
    placeholder=${options.placeholder}
    data-testid=${options.testId}
    .value=${live(options.value)}
    @input=${(event: Event) => {
      options.onInput(valueOf(event));
    }}
    @keydown=${keyed}
  ></vscode-text-area>`;
}

export function checkbox(options: {
  label: string;
  help?: string;
  checked: boolean;
  onChange(checked: boolean): void;
  testId?: string;
}): TemplateResult {
  return html`<div class="field">
    <vscode-checkbox
      data-testid=${ifDefined(options.testId)}
      .checked=${live(options.checked)}
      @change=${(event: Event) => {
        const { target } = event;
        const checked = target !== null && "checked" in target && target.checked === true;
        if (checked !== options.checked) options.onChange(checked);
      }}
      >${options.label}</vscode-checkbox
    >
    ${options.help ? html`<span class="help">${options.help}</span>` : nothing}
  </div>`;
}

/** Work of unknown length; the words beside it say what. */
export function ring(): TemplateResult {
  return html`<vscode-progress-ring class="ring" aria-hidden="true"></vscode-progress-ring>`;
}

function belowField({ problem, help }: TextOptions): TemplateResult | typeof nothing {
  if (problem) return html`<span class="problem" role="alert">${problem}</span>`;
  return help ? html`<span class="help">${help}</span>` : nothing;
}

function valueOf(event: Event): string {
  const { target } = event;
  return target !== null && "value" in target && typeof target.value === "string" ? target.value : "";
}
