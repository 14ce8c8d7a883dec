"""The command line: help, exit statuses, and mistakes reported in one line."""

import os
import signal
import subprocess
import sys
import time
import warnings

import pytest

import ghostpad
from ghostpad import cli
from ghostpad.errors import Notice


def run(*arguments, **settings):
    """Run `python -m ghostpad …` in a process of its own."""
    command = [sys.executable, "-m", "ghostpad", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **settings)


def mistake(capsys, *arguments):
    """Run a command line that must fail politely, and return its one line."""
    status = cli.main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    assert status == 2, shown
    lines = shown.err.splitlines()
    assert len(lines) == 1, shown.err
    assert lines[0].startswith("ghostpad: ")
    return lines[0]


def test_alone_it_lists_the_verbs_in_the_order_of_the_pipeline(capsys):
    assert cli.main([]) == 0
    shown = capsys.readouterr().out
    at = [shown.index(f"\n  {name} ") for name in cli.VERBS]
    assert at == sorted(at)
    assert all(len(line) <= 80 for line in shown.splitlines())


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"]])
def test_help_is_the_same_list(arguments, capsys):
    cli.main([])
    listed = capsys.readouterr().out
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out == listed


@pytest.mark.parametrize(
    "arguments", [["--version"], ["train", "--version"], ["record", "--seed", "1", "--version"]]
)
def test_version(arguments, capsys):
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out == f"ghostpad {ghostpad.__version__}\n"


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help_of_every_verb_shows_defaults(verb, capsys):
    with pytest.raises(SystemExit) as leaving:
        cli.main([verb, "--help"])
    shown = capsys.readouterr().out
    assert leaving.value.code == 0
    assert f"ghostpad {verb} " in shown
    assert "(default: " in shown


@pytest.mark.parametrize(
    "arguments",
    [[], ["--version"], ["evalute"], *([verb, "--help"] for verb in cli.VERBS)],
    ids=" ".join,
)
def test_asking_for_help_never_loads_torch(arguments):
    code = f"""
import sys
from ghostpad import cli
try:
    cli.main({arguments!r})
except SystemExit:
    pass
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_openmp_threads_wait_passively_before_torch_loads():
    code = "import os, ghostpad.cli as c; c.main([]); print(os.environ['OMP_WAIT_POLICY'])"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.endswith("\npassive\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("evalute", "there is no verb 'evalute', did you mean evaluate?; `ghostpad` alone lists them all"),
        (
            "record --episods 3",
            "unknown option --episods, did you mean --episodes?; see ghostpad record --help",
        ),
        ("record --adjust x y", "unknown option --adjust; see ghostpad record --help"),
        ("record here", "unexpected argument 'here'; see ghostpad record --help"),
        ("record --episodes", "--episodes needs a value; see ghostpad record --help"),
        ("record --episodes x", "--episodes: 'x' is not a whole number; see ghostpad record --help"),
        ("record --workers 2.5", "--workers: '2.5' is not a whole number; see ghostpad record --help"),
        ("record --sticky x", "--sticky: 'x' is not a number; see ghostpad record --help"),
        (
            "record --policy x",
            "--policy x: must be mixed, random, tracker or module:function",
        ),
        ("ingest", "SOURCE is missing; see ghostpad ingest --help"),
        (
            "train --codebook-sise 8",
            "unknown option --codebook-sise, did you mean --model.quantizer.codebook-size?; "
            "see ghostpad train --help",
        ),
        (
            "train --model.encoder.widths 3 x",
            "--model.encoder.widths expects [INT [INT ...]]; see ghostpad train --help",
        ),
    ],
)
def test_a_mistyped_command_gets_one_line(arguments, line, capsys):
    assert mistake(capsys, *arguments.split()) == f"ghostpad: {line}"


def test_options_that_a_verb_does_not_know_are_ignored_with_a_warning(tmp_path, capsys):
    assert "no such" in mistake_after_warning(
        capsys, "record", "--game", "nogame", "--device", "cpu", "--out", tmp_path
    )


def mistake_after_warning(capsys, *arguments):
    assert cli.main([str(argument) for argument in arguments]) == 2
    warning, line = capsys.readouterr().err.splitlines()
    assert warning == "ghostpad: --device has no effect and is ignored"
    return line


def test_an_unknown_preset_lists_the_known_ones(capsys):
    line = mistake(capsys, "train", "--preset", "tny")
    assert all(word in line for word in ("tny", "tiny", "spec"))


@pytest.mark.parametrize(
    ("options", "value"),
    [
        (["--seed", "3", "--out", "x"], "3"),
        (["--out", "x", "--seed=3"], "3"),
        (["--seed", "2", "--seed", "3"], "3"),
        (["--out", "x", "--seed"], ""),
        (["--seeds", "3"], None),
    ],
)
def test_the_last_value_of_an_option_counts(options, value):
    assert cli._value_of("--seed", options) == value


def test_a_renamed_flag_still_works_and_warns_once(monkeypatch, capsys):
    from ghostpad.sources import recorder

    seen = []
    monkeypatch.setattr(recorder, "record", seen.append)
    monkeypatch.setitem(cli.FLAGS, "record", {"--rounds": "--episodes", "--colors": None})
    assert cli.main(["record", "--rounds", "3", "--colors", "5", "--sticky", "0.25"]) == 0
    assert (seen[0].episodes, seen[0].sticky) == (3, 0.25)
    assert capsys.readouterr().err.splitlines() == [
        "ghostpad: --rounds is now --episodes",
        "ghostpad: --colors has no effect and is ignored",
    ]


def test_both_spellings_and_dotted_names_reach_the_config(monkeypatch):
    from ghostpad.training import latent_action

    seen = {}
    monkeypatch.setattr(
        latent_action, "train", lambda config, checks: seen.update(config=config, checks=checks)
    )
    options = "--preset tiny --batch_size 8 --no-grayscale --optimizer.learning-rate 1e-3"
    assert cli.main(["train", *options.split(), "--model.quantizer.codebook_size=512"]) == 0
    config = seen["config"]
    assert (config.preset, config.batch_size, config.grayscale) == ("tiny", 8, False)
    assert (config.optimizer.learning_rate, config.model.quantizer.codebook_size) == (1e-3, 512)
    assert config.model.reconstruction == "palette", "what is not named stays as the preset has it"
    assert callable(seen["checks"])


def test_without_a_preset_training_follows_the_reference_specification(monkeypatch):
    from ghostpad.presets import spec
    from ghostpad.training import latent_action

    seen = []
    monkeypatch.setattr(latent_action, "train", lambda config, checks: seen.append(config))
    assert cli.main(["train"]) == 0
    assert seen == [spec()]


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (
            KeyboardInterrupt(),
            130,
            "interrupted; finished work is kept: the same command continues from there",
        ),
        (
            OSError(28, "No space left on device", "a.pt"),
            2,
            "a.pt: No space left on device; fix this and run the same command again",
        ),
        (ghostpad.errors.UserError("two\nlines"), 2, "two lines"),
    ],
)
def test_what_can_go_wrong_has_a_status_and_a_line(error, status, line, monkeypatch, capsys):
    from ghostpad.sources import recorder

    def fail(config):
        raise error

    monkeypatch.setattr(recorder, "record", fail)
    assert cli.main(["record"]) == status
    assert capsys.readouterr().err == f"ghostpad: {line}\n"


def test_a_notice_is_one_line_without_a_place_in_the_code(monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    assert cli.main(["--version"]) == 0
    assert warnings.formatwarning("two tracks", Notice, "a.py", 1) == "ghostpad: two tracks\n"
    assert warnings.formatwarning("old", DeprecationWarning, "a.py", 1).startswith("a.py:1: DeprecationW")


def test_a_bug_is_not_hidden(monkeypatch):
    from ghostpad.sources import recorder

    def fail(config):
        raise ZeroDivisionError

    monkeypatch.setattr(recorder, "record", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["record"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_recording_stops_with_130_and_leaves_whole_episodes(number, tmp_path):
    out = tmp_path / "videos"
    command = [
        sys.executable,
        "-m",
        "ghostpad",
        "record",
        "--out",
        out,
        "--episodes",
        "200",
        "--workers",
        "1",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    waited_until = time.monotonic() + 30
    while not list(out.glob("episode_*")) and time.monotonic() < waited_until:
        time.sleep(0.05)
    os.killpg(process.pid, number)  # as a terminal does: the workers get it too
    _, shown = process.communicate(timeout=30)
    assert (process.returncode, shown.count("\n")) == (130, 1), shown
    assert "interrupted" in shown
    assert all((episode / "truth.npz").is_file() for episode in out.glob("episode_*"))
    assert not list(out.glob(".*")), "nothing half-written stays"


def test_a_reader_that_leaves_early_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m ghostpad record --help | true", shell=True, capture_output=True, check=False
    )
    assert done.stderr == b""
