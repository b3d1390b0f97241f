"""Which artifact has which contract: one literal table, in the order of the pipeline."""

from data_contracts.beside_the_corpus import BESIDE_THE_CORPUS
from data_contracts.clean_files import CLEAN_FILES
from data_contracts.contract import Contract
from data_contracts.corpus_files import COLLECTED_CONTRACTS, CORPUS_CONTRACTS
from data_contracts.eval_report import EVAL_REPORT
from data_contracts.raw_files import RAW_FILES
from data_contracts.token_shards import TOKEN_SHARDS

CONTRACTS: dict[str, Contract] = {
    contract.artifact: contract
    for contract in (
        RAW_FILES,
        *COLLECTED_CONTRACTS,
        *CORPUS_CONTRACTS,
        CLEAN_FILES,
        *BESIDE_THE_CORPUS,
        TOKEN_SHARDS,
        EVAL_REPORT,
    )
}


def contract_for(artifact: str) -> Contract | None:
    """The artifact's contract; None for one that is held to none."""
    return CONTRACTS.get(artifact)
