// Errors, in one place: the classes that callers catch, and how what the wasm module reports becomes one.
//
// A caller's mistake is a UsageError and is thrown where it is made. Aborting is not an error of ours: it
// throws the signal's own reason.

/** What the wasm module reports: whose fault (`kind`), a RocketMQ code, its name, and a sentence. */
export interface Failure {
  readonly kind: "connection" | "timeout" | "refused" | "usage" | "other";
  readonly code: number;
  readonly codeName: string;
  readonly message: string;
  readonly retryable: boolean;
}

/** Anything that goes wrong in this package. */
export class SkylarkError extends Error {
  override name = "SkylarkError";
  /** A broker's response code, or one of the numbers that RocketMQ's clients use for themselves (10001…). */
  readonly code: number;
  /** The code's name, such as "TOPIC_NOT_EXIST". */
  readonly codeName: string;
  /** The same call may succeed later without a change. */
  readonly retryable: boolean;

  constructor(message: string, code: number, codeName: string, retryable: boolean, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.codeName = codeName;
    this.retryable = retryable;
  }
}

/** No connection: it could not be opened, or it broke before the answer came. */
export class ConnectionError extends SkylarkError {
  override name = "ConnectionError";
}

/** No answer in time. What was asked may have happened. */
export class TimeoutError extends SkylarkError {
  override name = "TimeoutError";
}

/** A broker or NameServer understood and refused; `code` is its response code. */
export class RefusedError extends SkylarkError {
  override name = "RefusedError";
}

/** The call was wrong: a bad argument, a client that is closed, a runtime without WebSocket. */
export class UsageError extends SkylarkError {
  override name = "UsageError";

  constructor(message: string, code = -1, codeName = "USAGE") {
    super(message, code, codeName, false);
  }
}

/** The error for a failure that the wasm module reported. */
export function errorFrom(failure: Failure): SkylarkError {
  const { kind, message, code, codeName, retryable } = failure;
  switch (kind) {
    case "connection": return new ConnectionError(message, code, codeName, retryable);
    case "timeout": return new TimeoutError(message, code, codeName, retryable);
    case "refused": return new RefusedError(message, code, codeName, retryable);
    case "usage": return new UsageError(message, code, codeName);
    case "other": return new SkylarkError(message, code, codeName, retryable);
  }
}
