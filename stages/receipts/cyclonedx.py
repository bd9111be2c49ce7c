"""A receipt as an attestation of CycloneDX 1.6, for tools that collect evidence of compliance.

The format is https://cyclonedx.org/schema/bom-1.6.schema.json: a requirement of a law, the claim
that it is met, the evidence, which is the signed receipt itself, and what speaks against it.
"""

import base64
import uuid
from datetime import UTC, datetime, time
from typing import Any

from unlearn.stages.receipts.check import Receipt
from unlearn.stages.receipts.statement import Predicate

#: Of serial numbers: the same receipt always has the same one.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:dvc-unlearn:erasure-receipt:v1")

#: The requirement of each law: name of the law, its owner, identifier, and text.
_REQUIREMENTS = {
    "gdpr": (
        "General Data Protection Regulation",
        "European Union",
        "Article 17",
        "The data subject has the right to obtain the erasure of personal data without undue delay",
    ),
    "ccpa": (
        "California Consumer Privacy Act",
        "State of California",
        "Civil Code section 1798.105",
        "A consumer has the right to request that a business delete personal information",
    ),
    "drop": (
        "California Delete Act",
        "State of California",
        "Civil Code section 1798.99.86",
        "A data broker deletes the personal information of consumers who asked for it",
    ),
}
_NO_LAW = ("Requests to delete data", "the project", "erasure", "Data is deleted on request")


def attestation(receipt: Receipt) -> dict[str, Any]:
    """Return the attestation as JSON values.

    Parameters
    ----------
    receipt
        A receipt whose signature was checked.
    """
    found = receipt.statement.predicate
    requirement = _REQUIREMENTS.get(found.request.regime or "", _NO_LAW)
    tool = found.process.tool
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, receipt.name)}",
        "version": 1,
        "metadata": {
            "timestamp": _time(found.created),
            "tools": {
                "components": [
                    {"type": "application", "name": tool.name, "version": tool.version},
                ]
            },
        },
        "declarations": {
            "assessors": [{"bom-ref": "assessor", "thirdParty": False}],
            "attestations": [_attestation(found)],
            "claims": _claims(found),
            "evidence": [_evidence(receipt)],
            "targets": {"components": _targets(found)},
        },
        "definitions": {"standards": [_standard(requirement)]},
    }


def _attestation(found: Predicate) -> dict[str, Any]:
    complete = found.request.outcome == "complete"
    mapped: dict[str, Any] = {
        "requirement": "requirement",
        "claims": ["claim-data", "claim-models"],
        "conformance": {
            "score": 1 if complete else 0,
            "rationale": "every known copy was deleted, and the evidence on the models passes"
            if complete
            else "; ".join(found.request.reasons),
        },
    }
    if found.purge.pending:
        mapped["counterClaims"] = ["claim-pending"]
    return {
        "summary": f"Request received on {found.request.received}: {found.request.outcome}",
        "assessor": "assessor",
        "map": [mapped],
    }


def _claims(found: Predicate) -> list[dict[str, Any]]:
    purged = [place.name for place in found.purge.places if place.state == "purged"]
    claims = [
        {
            "bom-ref": "claim-data",
            "target": "data",
            "predicate": f"Copies of the rows were deleted in: {', '.join(purged) or 'no place'}",
            "reasoning": "; ".join(found.scope.covers),
            "evidence": ["evidence"],
        },
        {
            "bom-ref": "claim-models",
            "target": "models",
            "predicate": f"The verdict on the models is {found.verification.verdict}",
            "reasoning": "; ".join(found.verification.rests_on),
            "evidence": ["evidence"],
        },
    ]
    if found.purge.pending:
        claims.append(
            {
                "bom-ref": "claim-pending",
                "target": "data",
                "predicate": f"Copies may be left in: {', '.join(found.purge.pending)}",
                "reasoning": "; ".join(found.request.reasons),
                "evidence": ["evidence"],
            }
        )
    return claims


def _evidence(receipt: Receipt) -> dict[str, Any]:
    found = receipt.statement.predicate
    last = datetime.combine(found.valid_until, time(23, 59, 59), UTC)
    attached = {
        "contentType": "application/vnd.dsse.envelope.v1+json",
        "encoding": "base64",
        "content": base64.b64encode(receipt.envelope.write()).decode("ascii"),
    }
    return {
        "bom-ref": "evidence",
        "propertyName": f"dvc-unlearn:receipt:{receipt.name}",
        "created": _time(found.created),
        "expires": _time(last),
        "data": [
            {
                "name": f"{receipt.name}.json",
                "contents": {"attachment": attached},
                "classification": "public",
            }
        ],
    }


def _targets(found: Predicate) -> list[dict[str, Any]]:
    return [
        {
            "bom-ref": name,
            "type": kind,
            "name": name,
            "hashes": [{"alg": "SHA-256", "content": digest}],
        }
        for name, kind, digest in (
            ("data", "data", found.after.data),
            ("models", "machine-learning-model", found.after.models),
        )
    ]


def _standard(requirement: tuple[str, str, str, str]) -> dict[str, Any]:
    name, owner, identifier, text = requirement
    return {
        "bom-ref": "standard",
        "name": name,
        "owner": owner,
        "requirements": [{"bom-ref": "requirement", "identifier": identifier, "text": text}],
    }


def _time(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
