"""Made-up web sites on domains that are reserved for examples (RFC 2606), with the lines that each prints around all of its pages."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

NAMES = (
    *("Lantern", "Harbour", "Juniper", "Cobalt", "Meadow", "Granite", "Willow", "Compass", "Saffron", "Thistle", "Anchor", "Beacon"),
    *("Cedar", "Drift", "Ember", "Fathom", "Gable", "Hollow", "Indigo", "Kestrel", "Linden", "Marble", "Nectar", "Orchard"),
)
KINDS = (("Reference", "docs"), ("Handbook", "www"), ("Wiki", "wiki"), ("Journal", "blog"), ("Library", "lib"), ("Notes", "notes"))
DOMAINS = ("example.org", "example.com", "example.net")
MENU = (
    *("Home", "Documentation", "Tutorials", "Downloads", "Community", "Support", "About us", "Contact", "News", "Blog", "Forum"),
    *("Pricing", "Sign in", "Register", "Careers", "Events", "Archive", "Guides", "Glossary", "Sitemap", "Press", "FAQ"),
)
COOKIES = (
    "{site} uses cookies to give you the best experience on our website. By continuing to browse you agree to our use of cookies.",
    "We value your privacy. We and our partners store and access information on your device to personalise content and measure traffic.",
    "This website uses cookies. Some are necessary, others help us to improve. You may change your choice at any time. Accept all",
    "Cookies help us deliver our services. By using our services, you agree to our use of cookies. Learn more Got it",
)
CALLS = (
    "Subscribe to our newsletter and never miss an update.",
    "Was this page helpful? Yes No",
    "Share on Facebook Share on Twitter Share by email",
    "Log in or register to post comments.",
    "Report a problem with this page.",
    "Read more articles like this one in our archive.",
    "Please enable JavaScript to view the comments.",
)
NOTICES = (
    "The information on this site is provided for general guidance only and without any warranty, express or implied. {site} accepts no "
    "responsibility for errors or omissions, nor for any loss or damage that may result from its use. Product names and logos mentioned "
    "here belong to their owners and are named only to tell them apart. Reproduction of this page in whole or in part requires the "
    "written permission of the publisher, except where the law allows it.",
    "All contributions to {site} are made by volunteers in their spare time and are reviewed before they are published. If you find a "
    "mistake, please tell us through the form at the end of the page, and mention the address of the page together with the sentence that "
    "you think is wrong. We read every message, although we cannot answer all of them, and we correct what we can within a few days.",
)


@dataclass(frozen=True)
class Host:
    """A site: where it is, what it is called, what stands above and below each of its pages."""

    site: str
    domain: str
    menu: tuple[str, ...]
    cookies: str
    footer: tuple[str, ...]

    @property
    def above(self) -> tuple[str, ...]:
        """The lines before the page's own."""
        return ("Skip to main content", self.site, "Menu", *self.menu, "Search", self.cookies)


def hosts(rng: Random, count: int) -> list[Host]:
    """So many different sites; those at the front are meant to have more pages."""
    found: dict[str, Host] = {}
    while len(found) < count:
        name = rng.choice(NAMES)
        kind, prefix = rng.choice(KINDS)
        domain = f"{prefix}.{name.lower()}{rng.choice(('', '-online', '-project', '24'))}.{rng.choice(DOMAINS)}"
        site = f"{name} {kind}"
        legal = f"Copyright © {rng.randrange(2008, 2022)}-2024 {site}. All rights reserved."
        footer = (*rng.sample(CALLS, 3), rng.choice(NOTICES).format(site=site), legal, "Privacy policy", "Terms of use", "Imprint")
        menu = tuple(rng.sample(MENU, rng.randrange(5, 9)))
        found.setdefault(domain, Host(site, domain, menu, rng.choice(COOKIES).format(site=site), footer))
    return list(found.values())


def weights(count: int) -> list[float]:
    """How many pages the hosts have, relative to each other: few have many."""
    return [1 / (rank + 3) for rank in range(count)]


def bare(domain: str) -> Host:
    """A site that prints nothing around its pages."""
    return Host("", domain, (), "", ())
