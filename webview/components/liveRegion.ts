/** The panel's one polite live region, out of sight: what is appended is read out, what was read before stays for looking back. */

/** Utterances that stay. */
const KEPT = 5;

export interface LiveRegion {
  element: HTMLElement;
  say: (text: string) => void;
}

export function liveRegion(): LiveRegion {
  const element = document.createElement("div");
  element.className = "unseen";
  element.dataset.testid = "lc-said";
  element.setAttribute("role", "status");
  element.setAttribute("aria-live", "polite");
  element.setAttribute("aria-atomic", "false");
  return {
    element,
    say(text) {
      const utterance = document.createElement("p");
      utterance.dir = "auto";
      utterance.textContent = text;
      element.append(utterance);
      while (element.childElementCount > KEPT) element.firstElementChild?.remove();
    },
  };
}
