"""Commands: `app storage …`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from app.infrastructure.storage import operations

app = typer.Typer(name="storage", help="Look at stored files, put, get, delete and sign them.")

Key = Annotated[str, typer.Argument(help="Key of the file, such as avatars/1/face.webp.")]
Keys = Annotated[list[str], typer.Argument(help="Keys of the files.")]
Prefix = Annotated[str, typer.Argument(help="Folder of keys; nothing: all.")]
Source = Annotated[Path, typer.Argument(help="File on this machine.", exists=True, dir_okay=False)]
Target = Annotated[Path, typer.Argument(help="File to write on this machine; must not exist.")]
ContentType = Annotated[str | None, typer.Option("--type", help="Content type; or it is guessed.")]
Minutes = Annotated[float, typer.Option("--minutes", min=0.1, max=10_080, help="Until it expires.")]
Upload = Annotated[bool, typer.Option("--upload", help="For an upload, in place of a download.")]
MaxSize = Annotated[int, typer.Option("--max-size", min=1, help="Bytes an upload may have.")]


@app.command()
def ls(prefix: Prefix = "") -> None:
    """List files: bytes, time of the last change, key."""
    operations.ls(prefix, typer.echo)


@app.command()
def put(source: Source, key: Key, content_type: ContentType = None) -> None:
    """Store a file of this machine under a key, replacing what is there."""
    typer.echo(operations.put(source, key, content_type))


@app.command()
def get(key: Key, target: Target) -> None:
    """Write a stored file to this machine."""
    typer.echo(operations.get(key, target))


@app.command()
def rm(keys: Keys) -> None:
    """Delete files; those that are not there are no error."""
    operations.rm(keys)


@app.command()
def sign(
    key: Key,
    minutes: Minutes = 15,
    upload: Upload = False,
    content_type: ContentType = None,
    max_size: MaxSize = 1_048_576,
) -> None:
    """Print an address with which anybody may get the file, or upload it, until it expires."""
    lasting = timedelta(minutes=minutes)
    if not upload:
        typer.echo(operations.sign(key, lasting))
    elif content_type is None:
        message = "an upload is signed for one type: say --type image/png"
        raise typer.BadParameter(message)
    else:
        typer.echo(operations.sign_upload(key, lasting, content_type, max_size))
