"""What can go wrong in `hdpctl`: each error is one line for a person and an exit status."""

from __future__ import annotations

import click


class ControlError(click.ClickException):
    """A failure with one line that says what happened and what to do; exit status 1."""


class ConnectError(ControlError):
    """hdpd could not be reached, or the connection to it was lost."""


class RpcError(ControlError):
    """hdpd answered a call with a JSON-RPC error.

    `code` is the JSON-RPC error code, `word` the stable word in `data.error` ("" without one).
    """

    def __init__(self, message: str, code: int = 0, word: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.word = word


METHOD_NOT_FOUND = -32601


def rpc_error(method: str, error: object) -> RpcError:
    """Turn the `error` member of a JSON-RPC response into an `RpcError`."""
    if not isinstance(error, dict):
        return RpcError(f"{method}: hdpd answered with an error that cannot be read")
    code = error.get("code")
    code = code if isinstance(code, int) else 0
    if code == METHOD_NOT_FOUND:
        return RpcError(f"this hdpd has no method {method}; is it older than hdpctl?", code)
    data = error.get("data")
    word = data.get("error") if isinstance(data, dict) else None
    word = word if isinstance(word, str) else ""
    message = str(error.get("message") or word or "unknown error")
    return RpcError(f"{message} ({word})" if word and word != message else message, code, word)


def refusal(where: object, status: int, answer: object, tokenless: str = "") -> ControlError:
    """Turn an HTTP status that is not a success into an error.

    `answer` is the parsed JSON body (None where it is not JSON), `tokenless` what to add where a
    token is missing.
    """
    word = message = ""
    if isinstance(answer, dict):
        word = str(answer.get("error") or "")
        message = str(answer.get("message") or "")
    if status == 401:
        reason = message or "a token is needed"
        hint = f"give one with --token or HDPCTL_TOKEN{tokenless}"
        return RpcError(f"{where}: {reason}; {hint}", word=word)
    if message or word:
        return RpcError(f"{message} ({word})" if message and word else message or word, word=word)
    if status == 403:
        return RpcError(f"{where} refuses this: the token's role does not allow it")
    return ControlError(f"{where} answered with HTTP status {status}; is that hdpd?")
