"""The page of a run shows its gate and its control, its curves, and episodes that say the most."""

import json
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from experience_steps import POLICY, World, origin, texts, whole
from innervate_rl import settings as run_settings
from innervate_rl.curves import Curves
from innervate_rl.experience import ExperienceWriter, Keep, parts
from innervate_rl.result import Result, Rollouts
from innervate_rl.run_report import About, GateSettings, drawing, render, write


class Page(HTMLParser):
    """What a page says, and whether its elements are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.links, self.elements = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.links += [value for name, value in attrs if name in {"src", "href"}]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, _attrs):
        self.elements.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def seed(run, number, *, reward, returns=(1, 2, 3, 4, 5), begin=20.0, void=2, ended=True, **more):
    """Files of a seed: a rising curve, a result, and evaluation episodes of these returns."""
    directory = run / "seeds" / str(number)
    curves = Curves(directory)
    curves.append(
        {"step": 100 * at, "time": at / 10, "reward": begin + at * (reward - begin) / 99, "kl": 0.01}
        for at in range(100)
    )
    if not ended:
        return
    rollouts = Rollouts(200, void, 1)
    found = Result(
        9900, 50, reward, reward - 5, reward + 5, rollouts, {"environment": POLICY}, POLICY, **more
    )
    found.write(directory)
    with ExperienceWriter(directory / "experience", origin(), keep=Keep.ALL) as writer:
        writer.append_rollout(World().steps(number, 30, void=0.05), iteration=1, policy=POLICY)
        steps, lengths = whole([7] * len(returns), returns, seed=number)
        writer.append_episodes(steps, lengths, iteration=9, policy=POLICY)
        writer.flush()


GATE = GateSettings(threshold=475)
ABOUT = About(name="team/run", environment="cartpole", algorithm="PPO", seeds=3, gate=GATE)


def test_a_run_that_passed_shows_why_and_that_its_control_fails(tmp_path):
    for number, reward in enumerate((490.0, 495.0, 500.0)):
        seed(tmp_path, number, reward=reward)
    page = Page(render(tmp_path, ABOUT))
    assert "team/run: PPO in cartpole Passed" in page.text
    assert "It must reach 475" in page.text
    assert "the mean is 495" in page.text
    assert "trained policies 3 495 486.6 475 passes" in page.text
    assert "untrained 3 22.4" in page.text
    assert "475 fails" in page.text
    assert "shows nothing" not in page.text


def test_a_gate_that_untrained_policies_pass_is_called_worthless(tmp_path):
    for number in range(3):
        seed(tmp_path, number, reward=500.0, begin=499.0 + number / 10)
    assert "it shows nothing" in Page(render(tmp_path, ABOUT)).text


def test_a_run_below_its_threshold_failed(tmp_path):
    for number, reward in enumerate((300.0, 495.0, 500.0)):
        seed(tmp_path, number, reward=reward)
    assert "PPO in cartpole Failed" in Page(render(tmp_path, ABOUT)).text


def test_a_gap_that_is_too_large_fails_the_gate(tmp_path):
    for number in range(3):
        seed(tmp_path, number, reward=490.0 + number, held_out=100.0, gap=390.0)
    about = ABOUT.model_copy(update={"gate": GATE.model_copy(update={"max_gap": 0.1})})
    page = Page(render(tmp_path, about))
    assert "Failed" in page.text
    assert "The largest gap of a seed is 390; 0.1 is allowed." in page.text


def test_a_run_under_way_has_no_verdict(tmp_path):
    seed(tmp_path, 0, reward=490.0)
    seed(tmp_path, 1, reward=490.0, ended=False)
    page = Page(render(tmp_path, ABOUT.model_copy(update={"outcome": "Running"})))
    assert "1 of 3 seeds has ended" in page.text
    assert "Running" in page.text
    assert "Passed" not in page.text
    assert "goes on" in page.text


def test_curves_are_drawn_for_each_seed_with_the_gate(tmp_path):
    for number in range(3):
        seed(tmp_path, number, reward=490.0)
    html = render(tmp_path, ABOUT)
    page = Page(html)
    assert page.elements.count("polyline") >= 6
    assert "gate 475" in page.text
    assert "seed 2" in page.text


def test_a_page_brings_everything_with_it(tmp_path):
    seed(tmp_path, 0, reward=490.0)
    page = Page(render(tmp_path, ABOUT))
    assert page.links == []
    assert "script" not in page.elements


def test_best_worst_and_rarest_episodes_are_shown_once_each(tmp_path):
    seed(tmp_path, 0, reward=490.0, returns=[*range(100, 112), 990])
    seed(tmp_path, 1, reward=490.0, returns=[*range(200, 212), 5])
    page = Page(render(tmp_path, ABOUT))
    best, worst = page.text.split("Best episodes")[1].split("Worst episodes")
    worst, rarest = worst.split("Rarest episodes")
    assert best.count("return ") == worst.count("return ") == 3
    assert "return 990 · 7 steps seed 0" in best
    assert "return 211 · 7 steps seed 1" in best
    assert "return 5 · 7 steps seed 1" in worst
    assert 1 <= rarest.count("return ") <= 3


def test_void_episodes_are_counted_and_explained(tmp_path):
    seed(tmp_path, 0, reward=490.0, void=7)
    page = Page(render(tmp_path, ABOUT))
    assert "0 200 7 1" in page.text
    assert "the server died" in page.text


def test_texts_are_shown_as_turns_and_never_as_markup(tmp_path):
    seed(tmp_path, 0, reward=0.5, ended=False)
    with ExperienceWriter(
        tmp_path / "seeds" / "0" / "experience", origin(), keep=Keep.ALL, rewards=("canary",)
    ) as writer:
        answers = ["<script>alert(1)</script>!", "wrong & worse", "right!"]
        writer.append_turns(texts(answers, task="reverse-7"), iteration=3, policy=POLICY)
        writer.flush()
    html = render(tmp_path, About())
    page = Page(html)
    assert "<script>" not in html
    assert "<script>alert(1)</script>!" in page.text
    assert "task reverse-7" in page.text
    assert "canary 0" in page.text
    assert "· 1 turn " in page.text


def test_damaged_experience_is_told(tmp_path):
    seed(tmp_path, 0, reward=490.0)
    parts.path(tmp_path / "seeds" / "0" / "experience", 0).write_bytes(b"nothing")
    done = subprocess.run(
        [sys.executable, "-m", "innervate_rl.run_report", f"--run={tmp_path}"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert b"no file of experience" in done.stderr


def test_the_program_prints_the_page(tmp_path):
    seed(tmp_path, 0, reward=490.0)
    about = {"name": "team/run", "gate": {"metric": "Reward", "threshold": "475", "confidence": "0.9"}}
    command = [sys.executable, "-m", "innervate_rl.run_report", f"--run={tmp_path}"]
    done = subprocess.run(
        [*command, f"--about={json.dumps(about)}"], capture_output=True, check=True, text=True
    )
    assert "confidence 0.9" in Page(done.stdout).text


def test_a_trainer_writes_its_own_page(tmp_path):
    seed(tmp_path, 4, reward=490.0)
    config = {
        "run": {"namespace": "team", "name": "run"},
        "seed": 4,
        "environment": {"name": "cartpole", "jax": {"id": "CartPole-v1"}},
        "algorithm": {"name": "PPO"},
        "budget": {"steps": 1000},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    write(
        run_settings.read({"INNERVATE_CONFIG": str(tmp_path / "config.json"), "INNERVATE_RUN": str(tmp_path)})
    )
    page = Page((tmp_path / "seeds" / "4" / "report.html").read_text())
    assert "team/run, seed 4: PPO in cartpole" in page.text


def test_a_line_of_many_points_is_thinned_and_keeps_its_level():
    drawn = drawing.Line("seed 0", range(10_000), [5.0] * 10_000, "#000")
    thin = drawing._thinned(drawn)
    assert len(thin.x) <= 240
    assert set(thin.y) == {5.0}
    assert drawing.lines("x", [drawn._replace(x=[0, 1], y=[float("nan"), float("inf")])]) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234567, "1,234,567"), (0.00012345, "0.0001234"), (float("nan"), "–"), (499.0, "499"), (True, "True")],
)
def test_numbers_are_written_for_people(value, text):
    assert drawing.number(value) == text
