"""The champion's alias is a projection of the ledger: it is put back whenever the two differ.

They differ when somebody moved the alias by hand, or a process died between its entry and its alias. A champion whose
tag names an entry of another ledger is left alone: who looks for the ledger in the wrong place moves nothing.
"""

from components.errors import RegistryError
from components.registry.ledger import History, Ledger, LedgerEntry
from components.registry.model_registry import ModelRegistry, RegisteredVersion


def settle_champion(ledger: Ledger, registry: ModelRegistry, who: str) -> str | None:
    """Bring the alias to where the ledger says; returns what was done about it, None if all was well.

    A champion from before there was a ledger becomes its first entry. RegistryError if ledger and registry are not of
    one another.
    """
    told = None
    while True:
        # In this order: who promotes writes the entry first, so every entry that a tag names is seen.
        standing, history = registry.champion(), ledger.read()
        _require_own(standing, history, ledger)
        champion = history.champion
        if champion is None:
            if standing is None:
                return told
            if ledger.append(history, "adopted", standing.version, standing.lineage, (), who):
                told = f"version {standing.version}, champion before there was a ledger, is now its first entry"
            continue
        if standing and (standing.version, standing.ledger_entry) == (champion.version, champion.digest()):
            return told
        registry.promote(champion_of(champion, registry, ledger), champion.digest())
        if standing is None or standing.version != champion.version:
            where = f"on version {standing.version}" if standing else "nowhere"
            told = (
                f"the champion's alias of {ledger.model_name} stood {where}; it is back on version {champion.version}, "
                f"as entry {champion.number} of the ledger says"
            )


def champion_of(entry: LedgerEntry, registry: ModelRegistry, ledger: Ledger) -> RegisteredVersion:
    """The registered version that an entry means; RegistryError if the registry has another one under its number."""
    there = next((one for one in registry.versions() if one.version == entry.version), None)
    if there is None or there.lineage != entry.lineage:
        found = f"version {entry.version} with the lineage {there.lineage[:12]}" if there else "no such version"
        raise RegistryError(
            f"the ledger in {ledger.url} says that {entry.model_name} version {entry.version} with the lineage "
            f"{entry.lineage[:12]} is champion, and the registry has {found}; set STARLOOM_TRACKING_URI to the "
            "registry that the ledger is of, or name this model otherwise in register_model.model_name"
        )
    return there


def _require_own(standing: RegisteredVersion | None, history: History, ledger: Ledger) -> None:
    if standing is None or standing.ledger_entry is None:
        return
    if standing.ledger_entry not in {entry.digest() for entry in history.entries}:
        raise RegistryError(
            f"{standing.name} version {standing.version} was made champion by entry {standing.ledger_entry[:12]} of "
            f"another ledger than the one in {ledger.url}; set STARLOOM_RECORD_STORE to where that one lies, or, if "
            "it is lost, remove the version's tag ledger_entry in MLflow to begin anew"
        )
