"""The kinds that skrkit can show, each with the function that parses it. Modules load when their kind is met."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Literal, NamedTuple

from skrkit.errors import UsageError
from skrkit.wire import Described


class Kind(NamedTuple):
    """A row of the table: the parser's module and function, the form of its input, and whether the mark is weak.

    A strong mark (a magic number, telling member names) decides: what then fails to parse is a broken one of its kind.
    A weak mark (a size, two small integers) is only a guess: what then fails to parse may still be something else.
    """

    name: str
    module: str
    function: str
    form: Literal["binary", "text", "either"] = "binary"
    is_weak: bool = False

    def fits(self, text: bytes | None) -> bool:
        """Return whether input of this form can be this kind; `text` is None for binary."""
        return self.form == "either" or (self.form == "text") == (text is not None)


_ROWS = (
    Kind("hcl-report", "skrkit.evidence.hcl", "parse_hcl_report"),
    Kind("snp-report", "skrkit.evidence.snp", "parse_snp_report", is_weak=True),
    Kind("td-report", "skrkit.evidence.td_report", "parse_td_report", is_weak=True),
    Kind("runtime-claims", "skrkit.evidence.runtime", "parse_runtime_claims", form="text"),
    Kind("tpms-attest", "skrkit.tpm.attest", "parse_attest"),
    Kind("tpmt-signature", "skrkit.tpm.signature", "parse_signature", is_weak=True),
    Kind("tpm2b-public", "skrkit.tpm.public", "parse_public", is_weak=True),
    Kind("pcrs", "skrkit.evidence.pcrs", "parse_pcrs", form="text"),
    Kind("tcg-event-log", "skrkit.evidence.eventlog", "parse_event_log"),
    Kind("vek-certificate", "skrkit.endorsements.vek", "parse_vek", form="either"),
    Kind("certificate", "skrkit.inspect.certificate", "parse_certificate", form="either"),
    Kind("certificates", "skrkit.inspect.certificate", "parse_certificate_list", form="either"),
    Kind("public-key", "skrkit.inspect.public_key", "parse_public_key", form="either"),
    Kind("thim", "skrkit.inspect.thim", "parse_thim", form="text"),
    Kind("jwt", "skrkit.token.decode", "decode_jwt", form="text"),
    Kind("jwks", "skrkit.token.jwks", "parse_jwks", form="text"),
    Kind("sealed-envelope", "skrkit.token.envelope", "parse_sealed_envelope", form="text"),
    Kind("release-policy", "skrkit.policy.parse", "parse_policy", form="text"),
    Kind("release-response", "skrkit.release.response", "parse_release_response", form="text"),
    Kind("key-hsm", "skrkit.release.key_hsm", "parse_key_hsm", form="text"),
)
KINDS = {row.name: row for row in _ROWS}


def kind_named(name: str) -> Kind:
    """Return the kind of that name. Raises `UsageError` that lists the kinds."""
    if name not in KINDS:
        raise UsageError(
            what="kind of artefact",
            where="--as",
            expected="one of " + ", ".join(KINDS),
            found=repr(name),
            fix="Name one of these kinds, or leave out --as to have the kind recognised.",
        )
    return KINDS[name]


def parse_as(kind: Kind, data: bytes) -> Described:
    """Return `data` parsed as `kind`. Raises what the kind's parser raises, one of the six errors."""
    parse: Callable[[bytes], Described] = getattr(import_module(kind.module), kind.function)
    return parse(data)
