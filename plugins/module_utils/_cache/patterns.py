# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Patterns by which people name images: of tags, of digests, and ids. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from .._base.errors import BadOption

_ID = re.compile(r"(?:sha256:)?([0-9a-f]{12,64})")
_HUB = re.compile(r"^docker\.io/(?:library/)?")
"""What engines leave out of the names of images from Docker's own registry."""


class Pattern(NamedTuple):
    """What one word of an option matches: ``names`` and ``tags`` are regular expressions of a reference's name and of
    what follows it, ``digest`` whether that is a digest; ``id`` is the beginning of an id, "" where the word is none.
    """

    text: str
    names: str
    tags: str
    digest: bool
    id: str

    def matches(self, reference):
        """Whether a tag or a digest, as an engine writes it, matches.

        One pattern with a tag for any, such as ``team/base:*`` or ``team/base``, takes digests of that name, too.
        """
        name, tag, digest = split_reference(reference)
        if not re.fullmatch(self.names, name):
            return False
        if digest:
            return bool(re.fullmatch(self.tags, digest)) if self.digest else self.tags == _ANY
        return not self.digest and bool(re.fullmatch(self.tags, tag))


_ANY = "[^/]*"
"""The regular expression of ``*``."""


def split_reference(reference):
    """Return the name, the tag and the digest of a reference; the tag or the digest is ""."""
    name, _at, digest = reference.partition("@")
    path, colon, tag = name.rpartition(":")
    # What follows the last colon is a registry's port where it has a slash.
    return (path, tag, digest) if colon and "/" not in tag else (name, "", digest)


def patterns(words, option):
    """Return the Patterns of an option's words, () where it is not set. Raises BadOption for an empty list, or word,
    and for one that is no pattern.

    ``*`` and ``?`` stand for anything but a slash, ``**`` for anything, ``[a-c]`` for one of some characters; a word of
    12 to 64 hexadecimal digits is an id, or its beginning.
    """
    if words is None:
        return ()
    if not words:
        raise BadOption(f"{option}: the list is empty. Leave it out where no image is meant.")
    return tuple(_pattern(word.strip(), option) for word in words)


def _pattern(word, option):
    if not word:
        raise BadOption(f"{option}: a pattern is empty. Leave it out, or write ** for every image.")
    by_id = _ID.fullmatch(word)
    if by_id:
        return Pattern(word, "", "", False, f"sha256:{by_id.group(1)}")
    name, tag, digest = split_reference(_HUB.sub("", word))
    if not name:
        raise BadOption(f"{option}: {word!r} names no repository. Write one before the tag, such as team/base:*.")
    found = Pattern(word, _expression(name), _expression(digest or tag or "*"), bool(digest), "")
    try:
        re.compile(found.names + found.tags)
    except re.error as problem:
        raise BadOption(f"{option}: {word!r} is no pattern: {problem}.") from problem
    return found


def _expression(text):
    """Return a pattern as a regular expression."""
    parts = re.split(r"(\*\*|\*|\?|\[[^\]/]+\])", text)
    special = {"**": ".*", "*": _ANY, "?": "[^/]"}
    return "".join(
        special.get(part) or (part.replace("[!", "[^", 1) if part[:1] == "[" and part[-1:] == "]" else re.escape(part))
        for part in parts
    )


def is_named(image, wanted):
    """Whether any of the image's references, or its id, matches any of the Patterns."""
    return any(image.id.startswith(one.id) if one.id else any(map(one.matches, image.references)) for one in wanted)


def is_wholly_named(image, wanted):
    """Whether the image's id matches, or every tag that it has, or where it has none every digest."""
    if any(one.id and image.id.startswith(one.id) for one in wanted):
        return True
    names = image.tags or image.digests
    return bool(names) and all(any(not one.id and one.matches(name) for one in wanted) for name in names)


def unmatched(wanted, images):
    """Return the texts of the Patterns that match none of these images."""
    return [one.text for one in wanted if not any(is_named(image, [one]) for image in images)]
