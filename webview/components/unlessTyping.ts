/** A lit directive for the value of a text control: always the state's, but never over what a person is typing. */
import { noChange } from "lit";
import { Directive, directive } from "lit/directive.js";
import type { PropertyPart } from "lit/directive.js";
import { setCommittedValue } from "lit/directive-helpers.js";

const typing = new WeakSet<EventTarget>();

/** For `@input`: what is in the control is not final yet. */
export function typed(event: Event): void {
  if (event.currentTarget) typing.add(event.currentTarget);
}

/** For `@change` and `@focusout`: what is in the control is final, or was left as it was. */
export function settled(event: Event): void {
  if (event.currentTarget) typing.delete(event.currentTarget);
}

class UnlessTyping extends Directive {
  render(value: string): unknown {
    return value;
  }

  override update(part: PropertyPart, [value]: [string]): unknown {
    const { element } = part;
    if (typing.has(element) || ("value" in element && element.value === value)) return noChange;
    // What was drawn last says nothing: the control itself may hold something else by now.
    setCommittedValue(part);
    return value;
  }
}

export const unlessTyping = directive(UnlessTyping);
