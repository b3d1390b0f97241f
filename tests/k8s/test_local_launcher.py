import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from k8s.local_launcher import JobStartError, launch
from k8s.request import Cancelled, Failed, JobOutcome, JobRequest, Succeeded

BOUND_SECONDS = 20


def run(tmp_path: Path, *command: str, **environment: str) -> tuple[list[str], JobOutcome]:
    request = JobRequest(name="probe", command=command, working_dir=tmp_path, environment=environment)
    with launch(request) as job:
        return list(job.lines()), job.outcome()


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def gone(pid: int) -> bool:
    """True once the process is no more (a zombie that nobody collects counts as gone)."""
    try:
        process = psutil.Process(pid)
        process.wait(BOUND_SECONDS)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def test_a_command_that_goes_well_succeeds_and_its_lines_are_heard(tmp_path: Path):
    assert run(tmp_path, "echo", "hello loom") == (["hello loom"], Succeeded())


def test_a_command_that_fails_tells_its_exit_code_and_its_last_lines(tmp_path: Path):
    lines, outcome = run(tmp_path, *python("import sys; print('out'); sys.stdout.flush(); sys.exit('why')"))
    assert lines == ["out", "why"]
    assert outcome == Failed(1, ("out", "why"))
    assert run(tmp_path, "false") == ([], Failed(1, ()))


def test_a_command_ended_by_a_signal_counts_as_the_shell_counts(tmp_path: Path):
    _, outcome = run(tmp_path, *python("import os; os.kill(os.getpid(), 9)"))
    assert outcome == Failed(137, ())


def test_only_the_end_of_a_long_output_is_kept(tmp_path: Path):
    lines, outcome = run(tmp_path, *python("print('\\n'.join(map(str, range(5000)))); raise SystemExit(3)"))
    assert lines == [str(n) for n in range(5000)]
    assert isinstance(outcome, Failed)
    assert outcome.last_lines == tuple(str(n) for n in range(4960, 5000))


def test_bytes_that_are_no_text_and_a_last_line_without_an_end_are_heard(tmp_path: Path):
    code = r"import sys; sys.stdout.buffer.write(b'a\xff\r\nlast')"
    assert run(tmp_path, *python(code))[0] == ["a�", "last"]


def test_a_line_is_heard_before_the_command_ends(tmp_path: Path):
    code = "import sys; print('first', flush=True); sys.stdin.read(); import time; time.sleep(600)"
    request = JobRequest(name="probe", command=python(code), working_dir=tmp_path)
    with launch(request) as job:
        assert next(job.lines()) == "first"


def test_the_command_runs_in_its_directory_with_its_environment(tmp_path: Path):
    code = "import os; print(os.getcwd()); print(os.environ['LOOM'])"
    lines, _ = run(tmp_path, *python(code), LOOM="warp")
    assert lines == [str(tmp_path.resolve()), "warp"]


def test_arguments_never_meet_a_shell(tmp_path: Path):
    assert run(tmp_path, "echo", "$HOME; echo two")[0] == ["$HOME; echo two"]


def test_a_command_that_does_not_exist_is_named(tmp_path: Path):
    with pytest.raises(JobStartError, match="probe: no-such-program cannot be started"):
        run(tmp_path, "no-such-program")


NEST = (
    "import subprocess, sys, time, os; "
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    "print(os.getpid(), child.pid, flush=True); "
)


def test_cancelling_ends_the_command_and_all_it_started(tmp_path: Path):
    request = JobRequest(name="probe", command=python(NEST + "time.sleep(600)"), working_dir=tmp_path)
    with launch(request) as job:
        lines = job.lines()
        pids = [int(pid) for pid in next(lines).split()]
        threading.Thread(target=job.cancel).start()
        assert list(lines) == []
        assert job.outcome() == Cancelled()
    assert all(gone(pid) for pid in pids)


def test_a_command_deaf_to_the_request_to_end_is_killed_after_the_grace(tmp_path: Path):
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    request = JobRequest(name="probe", command=python(code), working_dir=tmp_path)
    with launch(request, grace_seconds=0.2) as job:
        assert next(job.lines()) == "deaf"
        job.cancel()
        assert job.outcome() == Cancelled()


def test_an_exception_in_the_block_ends_the_command(tmp_path: Path):
    request = JobRequest(name="probe", command=python(NEST + "time.sleep(600)"), working_dir=tmp_path)
    pids: list[int] = []

    def interrupted() -> None:
        with launch(request) as job:
            pids.extend(int(pid) for pid in next(job.lines()).split())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_a_grandchild_that_holds_the_pipe_does_not_hold_us(tmp_path: Path):
    lines, outcome = run(tmp_path, *python(NEST))
    assert outcome == Succeeded()
    assert gone(int(lines[0].split()[1]))


def test_the_job_ends_when_its_launcher_is_killed(tmp_path: Path):
    launcher = (
        "import sys\n"
        "from pathlib import Path\n"
        "from k8s.local_launcher import launch\n"
        "from k8s.request import JobRequest\n"
        f"request = JobRequest('probe', (sys.executable, '-c', {NEST + 'time.sleep(600)'!r}), Path('.'))\n"
        "with launch(request) as job:\n"
        "    for line in job.lines():\n"
        "        print(line, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", launcher], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert all(psutil.pid_exists(pid) for pid in pids)
        os.kill(process.pid, signal.SIGKILL)
    assert all(gone(pid) for pid in pids)
