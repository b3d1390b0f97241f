import pytest
import torch

from components.evaluation.torch_threads import map_pieces
from model.reporting import ListSink, reporting_to


def test_results_come_in_the_order_of_pieces_and_progress_is_told() -> None:
    sink = ListSink()
    with reporting_to(sink):
        assert map_pieces(lambda number: number * number, list(range(20)), "numbers") == [n * n for n in range(20)]
    assert sink.progresses[-1] == (20, 20, "numbers")


def test_each_piece_is_computed_by_one_thread_in_inference_mode_and_the_caller_keeps_his() -> None:
    before = torch.get_num_threads()
    seen = map_pieces(lambda _: (torch.get_num_threads(), torch.is_inference_mode_enabled()), [1, 2, 3], "pieces")
    assert seen == [(1, True)] * 3
    assert torch.get_num_threads() == before
    assert not torch.is_inference_mode_enabled()


def test_a_failure_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        map_pieces(lambda number: 1 // number, [1, 0, 2], "pieces")
    assert map_pieces(str, [], "pieces") == []
