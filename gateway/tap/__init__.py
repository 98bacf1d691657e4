"""The live view of events as they pass, without personal data. It costs one comparison a request when nobody looks."""

from gateway.tap.capture import Tap, merge_pages, split_cursor, without_ids
from gateway.tap.model import TapEntry, TapOutcome, TapPage

__all__ = ["Tap", "TapEntry", "TapOutcome", "TapPage", "merge_pages", "split_cursor", "without_ids"]
