"""What can be known of a recipe's tokens before a worker starts: the tokenizer, its layout, and budgets that no text could fill."""

from __future__ import annotations

from curate import mix as mixing
from curate.errors import RecipeError
from curate.plan import Plan
from curate.tokens.layout import edges
from curate.tokens.tokenizer import load

MOST_EXPANSION = 1032  # of any compressed input: deflate's limit, bytes of text per byte of file


def before(plan: Plan) -> None:
    """Raise RecipeError for a tokenizer that cannot be loaded or lacks what the layout needs, or a budget beyond all input."""
    recipe, tokens = plan.recipe, plan.recipe.tokens
    assert tokens is not None
    try:
        if tokens.tokenizer.train is None:
            edges(tokens.layout, load(tokens.tokenizer))
        if tokens.shard_tokens < 1:
            raise RecipeError("tokens.shard_tokens: at least 1 is expected")
        if recipe.mix and recipe.mix.tokens != "all":
            targets = mixing.apportion(recipe.mix.weights, int(recipe.mix.tokens))
            for source, shards in plan.inputs.items():
                size = sum(s.size for s in shards)
                epochs = mixing.most_epochs(recipe.mix, source)
                if targets[source] > epochs * size * MOST_EXPANSION:
                    raise RecipeError(
                        f"mix.tokens: {int(recipe.mix.tokens):,} tokens at these weights need {targets[source]:,} of {source}, whose "
                        f"input of {size / 1e6:,.1f} MB cannot hold so many in max_epochs {epochs:g}, at a token a byte and "
                        f"{MOST_EXPANSION:,} bytes of text a byte of file. Lower mix.tokens or the weight, raise max_epochs, or add data; "
                        "`tokens: all` takes what there is"
                    )
    except RecipeError as error:
        raise RecipeError(f"{recipe.file}: {error}") from None
