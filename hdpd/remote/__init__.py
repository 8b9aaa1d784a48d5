"""What peers are asked, and the one place where their answers are checked.

Begin with `reads.py`, for bytes; beside it `files.py` for those of one file in order, `listings.py`
for directories, `searches.py` for searches.
"""

FACE = (
    "files.RemoteFile",
    "listings.ListingChanged",
    "listings.Listings",
    "pages.ListingSession",
    "pages.ask_for_page",
    "reads",
    "searches",
)
