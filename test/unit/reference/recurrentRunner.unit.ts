import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { describeRecurrentRunner } from "../../support/recurrentContract.ts";

describeRecurrentRunner("the reference", openReferenceRunner);
