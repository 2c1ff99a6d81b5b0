"""The options that say which stores are looked into; imported without what opens them, as that takes long.

Tried by the tests of the commands that have them.
"""

import click

store_option = click.option(
    "--store", metavar="PATH", help="Use the store of imgfs at PATH.", envvar="IMGFS_STORE"
)
source_option = click.option(
    "--source",
    "sources",
    metavar="SOURCE",
    multiple=True,
    hidden=True,
    help="Look images up in SOURCE, and nowhere else.",
)
