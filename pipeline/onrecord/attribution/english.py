"""English words that tell offices, bodies, documents and where a noun phrase ends."""

from __future__ import annotations

import re

PRONOUNS_ONE = {"he", "she", "him", "her", "i"}
PRONOUNS_MANY = {"they", "we", "them", "both", "the two", "the pair", "the two sides", "both sides"}
PRONOUNS_BODY = {"it", "its", "which"}

# Nouns and titles of offices in English: a name beside one of them is a person in that office.
OFFICES = frozenset(
    """
    minister ministers premier president presidents spokesman spokeswoman spokesperson spokespeople ambassador
    ambassadors envoy envoys representative representatives delegate delegation speaker secretary chair chairman
    chairwoman chairperson co-chair co-chairs cochair head heads chief director deputy deputies vice-speaker
    adviser advisor advisers aide assistant ombudsman ombudswoman ombudsperson defender commander colonel
    general major lieutenant captain sergeant officer officers corporal private admiral governor mayor
    prosecutor judge justice lawmaker lawmakers mp mps legislator parliamentarian senator congressman
    congresswoman commissioner mediator mediators negotiator negotiators diplomat diplomats official officials
    member members leader leaders chancellor counsellor counselor attaché attache rapporteur monitor monitors
    observer coordinator inspector administrator agent consul plenipotentiary soldier soldiers serviceman
    press-secretary press-service undersecretary emissary prefect chargé deputy-head elder councillor councilor
    chaplain conscript reservist gunner sapper engineer surveyor cartographer
    """.split()
)
BODIES = frozenset(
    """
    ministry ministries government parliament army military office service services agency committee commission
    council assembly contingent command administration authorities side group court presidency department
    embassy mission secretariat party faction bloc union centre center headquarters board bureau directorate
    police forces fund staff
    """.split()
)
DOCUMENTS = frozenset(
    """
    statement communiqué communique declaration report letter document text note resolution decree bulletin
    release paper memorandum message post readout read-out transcript summary briefing dispatch protocol article
    tweet ruling order judgment
    """.split()
)
TITLES = {
    "mr",
    "mrs",
    "ms",
    "dr",
    "prof",
    "gen",
    "col",
    "maj",
    "lt",
    "capt",
    "sgt",
    "sir",
    "lord",
    "baroness",
    "father",
}
FEMALE = {
    "spokeswoman",
    "chairwoman",
    "ombudswoman",
    "congresswoman",
    "mrs",
    "ms",
    "mother",
    "widow",
    "daughter",
    "sister",
    "baroness",
    "wife",
}
MALE = {"spokesman", "chairman", "congressman", "mr", "father", "widower", "son", "brother", "serviceman", "husband"}
# Words that no noun phrase before a name runs across.
BARRIERS = frozenset(
    """
    said says say told tells tell added adds that which who whom whose when where while whereas because although
    though if but or as than then with by from after before during since until into onto upon through is are was
    were be been being has have had having will would shall should can could may might must do does did met
    meets meeting accused called calls asked asks urged thanked blamed quoted quoting according against between
    about over under he she they it we i his him her them there here this these those what how why not no yes
    also still only just even more most in at on
    """.split()
)
TARGETS = {
    "to",
    "in",
    "on",
    "with",
    "against",
    "between",
    "over",
    "near",
    "about",
    "into",
    "towards",
    "toward",
    "versus",
}
# A place before one of these is where somebody works, not for whom.
# *Officials in X*, *the ministry in X* speak for X; *the ambassador in X* does not.
SEATED = frozenset(
    "authorities circles court government leaders leadership lawmaker lawmakers ministry office official officials parliament "
    "prosecutors source sources".split()
)
SITES = re.compile(
    r"(?:[- ]based|\s+(?:liaison|office|offices|bureau|correspondent|residents?|suburb|hotel|airport|university|court))\b",
    re.IGNORECASE,
)
PARTICLES = {"de", "van", "von", "der", "den", "la", "le", "al", "bin", "ter", "ten", "du", "da", "di", "el"}
CALENDAR = frozenset(
    """
    monday tuesday wednesday thursday friday saturday sunday january february march april may june july august
    september october november december
    """.split()
)

STATE_BODY = re.compile(r"\b(?:ministry|embassy|secretariat|government|prosecutor|general staff|armed forces)\b", re.IGNORECASE)
# *adviser to the president* speaks for the president; *ambassador to France* does not speak for France.
SERVES = {
    "adviser",
    "advisor",
    "aide",
    "assistant",
    "counsel",
    "counsellor",
    "secretary",
    "spokesman",
    "spokeswoman",
    "spokesperson",
    "deputy",
}
# A relative clause tells no office, unless its verb is one that offices are told with.
CLAUSE = re.compile(
    r",?\s+(?:who|which|whose|whom)\b(?!\s+(?:heads?|leads?|chairs?|runs?|represents?|directs?|commands?|headed|led|speaks)\b)"
)
TOKEN = re.compile(r"\w+(?:[’'\-‐.]\w+)*|[^\w\s]|\n\s*\n")
SENTENCE_END = re.compile(r"(?<=[.!?…])[”\"’»)]*\s+(?=[“\"«„A-ZÀ-Ž—–-])|\n\s*\n")
ROLE_WORDS = {*OFFICES, *BODIES}

# Capitalised words that open sentences or belong to titles and places, never to a person's name.
OPENERS = frozenset(
    """
    the a an in on at for from of and but if when while after before as this that these those it its he she they
    we i our his her their there here what why how who which where yes no not only both each every all some many
    most one two three four five six seven eight nine ten first second last next earlier later meanwhile however
    speaking asked according despite since until under over by with without to foreign defense defence interior
    prime deputy vice special permanent senior federal national state central supreme constitutional north south
    east west northern southern eastern western new great international joint human rights affairs security
    mount lake river highway street square corridor region province district village city republic caucasus
    """.split()
)
