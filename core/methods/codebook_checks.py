"""What stands in the way of storing a model's layers as tables or binary codes."""

from __future__ import annotations

from core.methods.method import Parameters
from core.methods.targets import targeted, unfused_experts
from core.models.survey import Survey
from core.plan.finding import Finding, Severity


def codebook_findings(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    """Experts in one tensor, which are no Linear layers in transformers, and a head that shares its weights."""
    ignore = tuple(parameters["ignore"])
    found = []
    if unfused_experts(survey, ignore):
        found.append(
            Finding(
                code="codebook-experts",
                severity=Severity.BLOCKS,
                message="This model stores a layer's experts in one tensor. They are no Linear layers when the "
                "artifact is opened, and only Linear layers can be stored with levels of their own. GPTQ to 4 "
                "bits takes such models.",
                fix={"method": "gptq-w4a16"},
            )
        )
    tied = [module.name for module in targeted(survey, ignore) if module.tied_to is not None]
    if tied:
        found.append(
            Finding(
                code="codebook-tied-head",
                severity=Severity.BLOCKS,
                message=f"The output layer {', '.join(tied)} shares its weights with the embedding, which is looked up "
                "row by row and cannot be stored with levels of its own. Leave it alone.",
                fix={"ignore": [*ignore, *tied]},
            )
        )
    return tuple(found)
