"""`innervate chat` and `innervate feedback`: ask a pool by hand, and say what came of its answer."""

import sys
from typing import Annotated

import typer

from innervate.chat import ChatClient, Message
from innervate.cli import output, telemetry
from innervate.cli.memory_options import Timeout, WithTrace
from innervate.cli.options import Context, Kubeconfig, Namespace, Output, OutputOption
from innervate.errors import Conflict, InvalidArgument, NotFound
from innervate.exchanges import ExchangeClient, Feedback, ReportResult
from innervate.kubectl import Kubectl
from innervate.pools import INFERENCE_POOL
from innervate.retry import Retry
from innervate.route import DEFAULT_PORT, Forwarded

_CALL = "Call"

Pool = Annotated[str, typer.Argument(help="Name of the InferencePool.", metavar="POOL", show_default=False)]
Account = Annotated[
    str,
    typer.Option("--as", help="ServiceAccount of the pool's namespace to call as.", rich_help_panel=_CALL),
]


def chat(
    pool: Pool,
    question: Annotated[
        str | None,
        typer.Argument(help="What to ask; left out, standard input is read.", show_default=False),
    ] = None,
    *,
    system: Annotated[str, typer.Option(help="System message to put first.")] = "",
    model: Annotated[str, typer.Option(help="The pool's model; left out, whichever it has.")] = "",
    release: Annotated[
        str, typer.Option(help="Release that is to answer, one of those the pool's traffic names.")
    ] = "",
    session: Annotated[str, typer.Option(help="Session id: one release answers all of a session.")] = "",
    task: Annotated[str, typer.Option(help="What it is part of, for the log.")] = "",
    max_tokens: Annotated[int | None, typer.Option(help="Longest answer, in tokens.", min=1)] = None,
    temperature: Annotated[float | None, typer.Option(help="0 for the likeliest answer.", min=0)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the engine's choices.")] = None,
    account: Account = "default",
    timeout: Timeout = 30.0,
    trace: WithTrace = False,
    output_: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Ask an InferencePool one question; say which release answered, and under which request id."""
    if question is None:
        if sys.stdin.isatty():
            raise InvalidArgument("there is nothing to ask", fix="give a question, or standard input")
        question = sys.stdin.read().strip()
    messages = [Message(role="user", content=question)]
    if system:
        messages.insert(0, Message(role="system", content=system))
    kubectl = Kubectl(context, namespace, kubeconfig)
    route = Forwarded(kubectl, pool, account, served=INFERENCE_POOL)
    with (
        telemetry.traced("innervate chat", kubectl, wanted=trace),
        ChatClient(route, retry=Retry(timeout=timeout)) as client,
    ):
        answer = client.chat(
            messages,
            model=model,
            session=session,
            task=task,
            release=release,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        )
    if output_ is Output.JSON:
        output.print_json(answer)
        return
    output.out.print(output.shown(answer.text))
    output.err.print(
        f"{answer.release} ({answer.arm}), request {answer.request_id}",
        style="dim",
        markup=False,
        soft_wrap=True,
    )


def feedback(
    pool: Pool,
    request_id: Annotated[
        str, typer.Argument(help="Request id of the answer.", metavar="REQUEST_ID", show_default=False)
    ],
    value: Annotated[float, typer.Argument(help="From 0, bad, to 1, good.", min=0, max=1)],
    *,
    name: Annotated[str, typer.Option(help="What is judged.")] = "success",
    expected: Annotated[
        str,
        typer.Option(help="What should have been answered, for learning; kept where the pool keeps content."),
    ] = "",
    account: Account = "default",
    timeout: Timeout = 30.0,
    trace: WithTrace = False,
    output_: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Say what came of an answer: it joins the exchange in the pool's log, once for each name."""
    kubectl = Kubectl(context, namespace, kubeconfig)
    route = Forwarded(kubectl, pool, account, served=INFERENCE_POOL, port=DEFAULT_PORT)
    with (
        telemetry.traced("innervate feedback", kubectl, wanted=trace),
        ExchangeClient(route, retry=Retry(timeout=timeout)) as client,
    ):
        (result,) = client.report(
            [Feedback(request_id=request_id, name=name, value=value, expected=expected)]
        )
    match result:
        case ReportResult.UNKNOWN_EXCHANGE:
            raise NotFound(
                f"pool {pool} has no exchange {request_id}",
                fix="the log may have outlived it: see the pool's exchangeLog.retentionSeconds",
            )
        case ReportResult.TOO_LATE:
            raise Conflict(
                f"exchange {request_id} takes no feedback any more",
                fix="see the pool's exchangeLog.feedbackSeconds",
            )
    if output_ is Output.JSON:
        output.print_json({"result": result})
    else:
        known = result is ReportResult.ALREADY_REPORTED
        output.out.print(f"{name} was reported before, and stays" if known else "recorded")
