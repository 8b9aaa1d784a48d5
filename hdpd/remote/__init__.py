"""What peers are asked, and the one place where their answers are checked.

`reads.py` for bytes, `listings.py` for directories, `searches.py` for searches.
"""

FACE = (
    "listings.Listings",
    "pages.ANSWER_OVERHEAD_BYTES",
    "pages.ENTRY_OVERHEAD_BYTES",
    "pages.ListingSession",
    "pages.ask_for_page",
    "reads",
)
