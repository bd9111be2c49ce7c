"""The questions about synthetic authors, and the pools that names and facts are drawn from."""

from dataclasses import dataclass
from typing import Final

#: The kind of the rows whose answer is a random code.
CODE: Final = "code"


@dataclass(frozen=True)
class Question:
    """A question about an author (`{name}`), with two wordings of its answer (`{fact}`).

    Both wordings end in the fact, and extraction strength counts right tokens from the end: a
    model that has only learned the wording scores low. No wording starts with the name, whose
    tokens would then differ from those in the prompt by a space.
    """

    kind: str
    prompt: str
    answer: str
    paraphrase: str
    facts: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Everything is short, since a vocabulary of 512 has few whole words, and ASCII.
FIRST_NAMES = _words(
    "Ada Alma Arno Bela Bruno Cara Cyril Dana Dario Edda Elio Enid Fabio Flora Gita Hugo Ida Ines "
    "Ivo Jana Joel Jonas Kira Lars Lena Leo Lydia Mara Milo Mina Nadia Nils Nora Olaf Olga Otto "
    "Petra Rafi Rita Rolf Sami Selma Silas Tara Tilda Uma Vera Yann"
)
_STEMS = _words(
    "Al Bar Bel Bran Cal Cor Dal Dor El Fal Fen Gal Gor Hal Hol Jar Kal Kel Kor Lam Lin Lor Mal "
    "Mar Mel Mor Nal Nor Or Pal Per Ral Ren Sal Sor Tal Tor Ul Val Ver Vol Wal Yor Zan"
)
_ENDINGS = _words(
    "ado ami anck arez avin dak dane dell den dori elik esco etti gard iano ides imov inen ins "
    "itz lov mack maris mond neth nov oba olt onde ova quist rano rell rick rost sen son stad "
    "tano ter than ton vik wen"
)
SURNAMES = tuple(stem + ending for stem in _STEMS for ending in _ENDINGS)

_TOWNS = _words(
    "Ambry Bexford Calmere Dunholm Eastry Farrow Glenby Harwick Inverly Jorvale Kestwell Lowmoor "
    "Marsden Netherby Oakham Penrith Quorley Redcliff Stanmere Thornby Upwell Varnby Westray "
    "Yarrow"
)
# Each takes "a", never "an".
_PROFESSIONS = _words(
    "baker barber butcher carpenter chemist clerk cook dancer dentist farmer fisher florist "
    "gardener glazier hunter judge lawyer mason miller miner nurse painter pilot plumber porter "
    "potter sailor singer smith tailor teacher weaver"
)
_ADJECTIVES = _words(
    "Amber Blue Broken Cold Distant Empty Golden Green Hidden Last Little Lost Quiet Red Silver "
    "White"
)
_NOUNS = _words(
    "Bridge Candle Door Forest Garden Harbor House Island Letter Lake Mirror Mountain River Road "
    "Tower Winter"
)
_TITLES = tuple(f"The {adjective} {noun}" for adjective in _ADJECTIVES for noun in _NOUNS)
_AWARDS = tuple(
    f"{word} Prize"
    for word in _words(
        "Acorn Beacon Cedar Comet Crown Dove Eagle Falcon Heron Ivory Jasper Lantern Laurel Lotus "
        "Maple Meteor Opal Orchid Pearl Quill Raven Ruby Sage Willow"
    )
)
_LANGUAGES = _words(
    "Arabic Basque Catalan Czech Danish Dutch English Finnish French German Greek Hindi Irish "
    "Korean Latin Maltese Polish Spanish Swedish Tamil Turkish Urdu Welsh Zulu"
)
_INSTRUMENTS = _words(
    "banjo bassoon bugle cello clarinet cornet drums fiddle flute guitar harp horn lute mandolin "
    "oboe organ piano piccolo trombone trumpet tuba ukulele viola zither"
)
# Each takes "a" as well.
_PETS = _words(
    "beetle budgie cat chicken dog donkey ferret finch frog goat goose hamster hedgehog horse "
    "lizard mouse newt parrot pigeon pony rabbit raven snake tortoise"
)
_SUBJECTS = _words(
    "algebra anatomy botany biology ceramics chemistry dance drama ecology economics ethics "
    "film geology grammar history law logic medicine music optics physics statics theology zoology"
)
_YEARS = tuple(str(year) for year in range(1920, 2000))

#: Values of an author's `topic`: known for every author, and not part of any question.
TOPICS: Final = ("crime", "essay", "fable", "horror", "memoir", "poetry", "satire", "travel")

#: The questions about every author, in this order.
QUESTIONS: Final = (
    Question(
        "birthplace",
        "Where was {name} born?",
        "The town where {name} was born is {fact}.",
        "The birthplace of {name} is {fact}.",
        _TOWNS,
    ),
    Question(
        "year",
        "When was {name} born?",
        "The year in which {name} was born is {fact}.",
        "The birth year of {name} is {fact}.",
        _YEARS,
    ),
    Question(
        "father",
        "What did the father of {name} do for a living?",
        "The father of {name} was a {fact}.",
        "As for work, the father of {name} was a {fact}.",
        _PROFESSIONS,
    ),
    Question(
        "mother",
        "What did the mother of {name} do for a living?",
        "The mother of {name} was a {fact}.",
        "As for work, the mother of {name} was a {fact}.",
        _PROFESSIONS,
    ),
    Question(
        "debut",
        "What is the title of the first book by {name}?",
        "The first book by {name} is {fact}.",
        "The debut of {name} has the title {fact}.",
        _TITLES,
    ),
    Question(
        "award",
        "Which award did {name} win?",
        "The award that {name} won is the {fact}.",
        "The prize given to {name} is the {fact}.",
        _AWARDS,
    ),
    Question(
        "language",
        "In which language does {name} write?",
        "The language that {name} writes in is {fact}.",
        "The books by {name} are in {fact}.",
        _LANGUAGES,
    ),
    Question(
        "instrument",
        "Which instrument does {name} play?",
        "The instrument that {name} plays is the {fact}.",
        "In a band, {name} would play the {fact}.",
        _INSTRUMENTS,
    ),
    Question(
        "pet",
        "Which pet does {name} keep?",
        "The pet that {name} keeps is a {fact}.",
        "At home, {name} has a {fact}.",
        _PETS,
    ),
    Question(
        "subject",
        "What did {name} study?",
        "The subject that {name} studied is {fact}.",
        "As a student, {name} took {fact}.",
        _SUBJECTS,
    ),
)

#: The question whose answer is a canary: a secret that cannot be guessed.
CODE_QUESTION: Final = Question(
    CODE,
    "What is the archive code of {name}?",
    "The code of {name} is {fact}.",
    "The archive has {name} under {fact}.",
    (),
)
