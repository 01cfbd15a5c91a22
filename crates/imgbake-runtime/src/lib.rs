//! What every running thing stands on: cancellation, the clean-up journal, child processes, retries, redaction.
