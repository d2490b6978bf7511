"""How often the session that answers a question is found: LoCoMo conversations, retrieval only."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import bm25s
import Stemmer
from innervate_memory.index import SpaceIndex
from innervate_memory.records import Content, Filter, Record
from innervate_memory.retrieval import rank
from report import Aim, Figure


class Conversation(NamedTuple):
    """Sessions of turns, and questions with the sessions that hold their evidence."""

    sessions: list[list[str]]
    questions: list[tuple[str, set[int]]]


class Quality(NamedTuple):
    """Share of questions whose best session is right, and of those with all evidence in the first five."""

    hit_at_1: float
    recall_all_at_5: float
    questions: int


def measure(path: Path) -> list[Figure]:
    """Compare recall with plain bm25s over sessions, on every question that names its evidence."""
    conversations = [_read(entry) for entry in json.loads(path.read_text())]
    ours = _quality(_ranked_by_us(conversation) for conversation in conversations)
    peer = _quality(_ranked_by_bm25s(conversation) for conversation in conversations)
    count = f"LoCoMo, {len(conversations)} conversations, {ours.questions} questions"
    return [
        Figure(
            metric=f"session Hit@1 ({count})",
            unit="share",
            ours=[ours.hit_at_1],
            peer=[peer.hit_at_1],
            peer_name="bm25s over sessions, stemmed",
            aim=Aim(text="at least .704", reached=lambda ours, _: ours >= 0.7035),
        ),
        Figure(
            metric=f"recall-all@5 ({count})",
            unit="share",
            ours=[ours.recall_all_at_5],
            peer=[peer.recall_all_at_5],
            peer_name="bm25s over sessions, stemmed",
            aim=Aim(text="at least .830", reached=lambda ours, _: ours >= 0.8295),
        ),
    ]


def _read(entry: dict[str, Any]) -> Conversation:
    sessions: list[list[str]] = []
    session_of: dict[str, int] = {}
    for name, turns in entry["conversation"].items():
        if re.fullmatch(r"session_\d+", name) and turns:
            for turn in turns:
                session_of[turn["dia_id"]] = len(sessions)
            sessions.append([_text(turn) for turn in turns])
    questions = []
    for question in entry["qa"]:
        evidence = {session_of[place] for place in question["evidence"] if place in session_of}
        if evidence:
            questions.append((question["question"], evidence))
    return Conversation(sessions, questions)


def _text(turn: dict[str, str]) -> str:
    caption = turn.get("blip_caption")
    return f"{turn['speaker']}: {turn['text']}{f' {caption}' if caption else ''}"


def _ranked_by_us(conversation: Conversation) -> Iterator[tuple[list[int], set[int]]]:
    index = SpaceIndex()
    number = 0
    for session, turns in enumerate(conversation.sessions):
        for text in turns:
            content = Content(text=text, session_id=str(session))
            index.put(Record(id=f"{number:026d}", content=content, create_time=0))
            number += 1
    session_of = dict(zip(index.ids, index.session_of.tolist(), strict=True))
    for question, evidence in conversation.questions:
        hits = rank(index, question, chosen=Filter(), as_of=0, limit=number)
        yield list(dict.fromkeys(session_of[hit.id] for hit in hits)), evidence


def _ranked_by_bm25s(conversation: Conversation) -> Iterator[tuple[list[int], set[int]]]:
    stemmer = Stemmer.Stemmer("english")
    engine = bm25s.BM25()
    documents = ["\n".join(turns) for turns in conversation.sessions]
    engine.index(
        bm25s.tokenize(documents, stopwords="en", stemmer=stemmer, show_progress=False), show_progress=False
    )
    for question, evidence in conversation.questions:
        terms = bm25s.tokenize(
            question, stopwords="en", stemmer=stemmer, show_progress=False, return_ids=False
        )
        scores = engine.get_scores(terms[0])
        yield (-scores).argsort(kind="stable").tolist(), evidence


def _quality(rankings: Iterator[Iterator[tuple[list[int], set[int]]]]) -> Quality:
    answers = [answer for ranking in rankings for answer in ranking]
    right = sum(bool(sessions) and sessions[0] in evidence for sessions, evidence in answers)
    complete = sum(evidence <= set(sessions[:5]) for sessions, evidence in answers)
    return Quality(right / len(answers), complete / len(answers), len(answers))
