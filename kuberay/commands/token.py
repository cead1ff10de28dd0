"""`token create`, `list` and `revoke`: who may use the API, in a secret that the directories' pods mount.

A change reaches them without a restart: the kubelet exchanges the mounted file within a minute or so, and they look at it
once a second.
"""

from __future__ import annotations

import os

from kuberay import groups, tokens
from kuberay.commands.deploy import apply_namespace
from kuberay.manifests import Options, render
from kuberay.session import Session
from serve_app.auth.secret import digest_of, new_token
from serve_app.auth.tokens_file import BadTokens, parse, token_line, with_token, without_token
from serve_app.command_output.failure import Failure
from serve_app.command_output.token_table import token_table

_ARRIVES = "within a minute or so, when it has reached the pods"


def create(session: Session, name: str, scopes: str, prefix: str) -> int:
    """Make a token: print it, this once, and put its hash into the secret.

    Raises:
        Failure: it can't be made; nothing has changed.
    """
    token = new_token()
    try:
        line = token_line(name, scopes, os.fsencode(prefix), digest_of(token.encode()))
    except BadTokens as error:
        raise Failure(str(error)) from None
    if tokens.read(session.cluster) is None:
        apply_namespace(session, render(Options(namespace=session.namespace))[0])
    tokens.edit(session.cluster, lambda text: with_token(text, line))
    session.terminal.raw(token + "\n")
    session.terminal.hint(f"This is shown once: the secret {tokens.SECRET} holds its hash alone.")
    session.terminal.hint(_what_it_does(session))
    return 0


def show(session: Session) -> int:
    """Show the tokens that there are, without themselves. Raises Failure where they can't be read."""
    text = tokens.read(session.cluster)
    if text is None:
        session.terminal.say(f"There are no tokens in the namespace {session.namespace}.")
        return 0
    try:
        found = parse(text)
    except BadTokens as error:
        raise Failure(f"the secret {tokens.SECRET}: {error}") from None
    session.terminal.draw(token_table(found))
    return 0


def revoke(session: Session, name: str) -> int:
    """Take a token out of the secret. Raises Failure where there is none of that name."""
    if tokens.read(session.cluster) is None:
        raise Failure(f"there are no tokens in the namespace {session.namespace}")
    tokens.edit(session.cluster, lambda text: without_token(text, name))
    session.terminal.say(f"Revoked {name}: the store refuses it {_ARRIVES}.")
    return 0


def _what_it_does(session: Session) -> str:
    service = session.service()
    deploy = tokens.command(session.namespace, "deploy")
    if service is None:
        return f"`{deploy}` starts a store that asks for tokens."
    if not groups.tokens_file(service):
        return f"The store asks for no tokens yet: `{deploy}` turns that on."
    return f"The store takes it {_ARRIVES}."
