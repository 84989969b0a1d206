"""`curate fetch`: raw inputs from those who publish them, resumed where a download broke off and checked against what they publish.

A source's module turns a choice (a crawl, languages, sites, months) into a list of `Wanted` files, from the publisher's own listing;
`job` downloads what is missing of them. All that comes from a server is bounded, and no name from a listing leads out of DIR.
"""
