"""A fastText model of three languages, trained in a second on sentences of our own."""

from __future__ import annotations

import random
from pathlib import Path

SENTENCES = {
    "en": (
        "the morning was cold and the river stood still under the bridge",
        "she had been reading the letters that her brother wrote from the city",
        "we walked through the garden and talked about what they would have said",
        "this is the house where my friends and i have lived for many years",
        "there are things which nobody knows until they have seen them with their own eyes",
        "he would not have gone there if you had told him what was waiting for him",
        "all of the children were playing with the dogs behind the school",
        "it is not easy to find good bread in this part of the country",
    ),
    "de": (
        "der morgen war kalt und der fluss stand still unter der brücke",
        "sie hatte die briefe gelesen die ihr bruder aus der stadt geschrieben hat",
        "wir gingen durch den garten und sprachen darüber was sie gesagt hätten",
        "das ist das haus in dem meine freunde und ich seit vielen jahren wohnen",
        "es gibt dinge die niemand weiß bis er sie mit eigenen augen gesehen hat",
        "er wäre nicht dorthin gegangen wenn du ihm gesagt hättest was auf ihn wartet",
        "alle kinder spielten mit den hunden hinter der schule",
        "es ist nicht leicht in diesem teil des landes gutes brot zu finden",
    ),
    "fr": (
        "le matin était froid et la rivière dormait sous le pont",
        "elle avait lu les lettres que son frère écrivait depuis la ville",
        "nous avons marché dans le jardin et parlé de ce qu'ils auraient dit",
        "voici la maison où mes amis et moi habitons depuis des années",
        "il y a des choses que personne ne sait avant de les avoir vues de ses propres yeux",
        "il n'y serait pas allé si tu lui avais dit ce qui l'attendait",
        "tous les enfants jouaient avec les chiens derrière l'école",
        "il n'est pas facile de trouver du bon pain dans cette partie du pays",
    ),
}
UNSEEN = {
    "en": "they have been waiting for the letters which she would have written about the school",
    "de": "sie haben auf die briefe gewartet die er über die schule geschrieben hätte",
    "fr": "ils avaient attendu les lettres que elle aurait écrites depuis l'école avec son frère",
}


DIM = 16


def train(folder: Path) -> str:
    """The path of the model: the same bytes every time.

    With fewer than eleven threads fastText 0.10 leaves part of its matrix to whatever the memory held, and may meet a NaN there; so all
    rows are given: one for each word, none for n-grams of characters.
    """
    import fasttext

    lines = [f"__label__{language} {sentence}\n" for language, sentences in SENTENCES.items() for sentence in sentences]
    rng = random.Random(0)
    words = ["</s>", *sorted({word for sentences in SENTENCES.values() for sentence in sentences for word in sentence.split()})]
    rows = [f"{word} {' '.join(f'{rng.uniform(-1, 1) / DIM:.6f}' for _ in range(DIM))}\n" for word in words]
    (folder / "train.txt").write_text("".join(lines), "utf-8")
    (folder / "rows.vec").write_text(f"{len(rows)} {DIM}\n{''.join(rows)}", "utf-8")
    options = {"dim": DIM, "epoch": 100, "lr": 0.5, "minn": 0, "maxn": 0, "bucket": 0, "thread": 1, "verbose": 0}
    model = fasttext.train_supervised(str(folder / "train.txt"), pretrainedVectors=str(folder / "rows.vec"), **options)
    model.save_model(str(folder / "three.bin"))
    return str(folder / "three.bin")
