"""Captions of our own making: everyday sound events combined into plain sentences.

The permissive caption files are telegraphic (MECAT) or notes by sound collectors (WavText5K). People who caption
recordings write sentences; these teach the decoder that manner without using anybody's text.
"""

import random

# subject | does | doing
_EVENTS = """
A dog|barks|barking
A small dog|yaps|yapping
Several dogs|bark and howl|barking and howling
A cat|meows|meowing
A rooster|crows|crowing
Hens|cluck|clucking
A cow|moos|mooing
Sheep|bleat|bleating
A horse|trots on a hard road|trotting on a hard road
A pig|grunts|grunting
Ducks|quack|quacking
Birds|chirp|chirping
A songbird|sings|singing
Crows|caw|cawing
Seagulls|cry|crying
An owl|hoots|hooting
Crickets|chirp steadily|chirping steadily
Bees|buzz|buzzing
A fly|buzzes close by|buzzing close by
Frogs|croak|croaking
A lion|roars|roaring
A man|speaks|speaking
A woman|speaks|speaking
A man and a woman|talk|talking
A child|talks excitedly|talking excitedly
Children|play and shout|playing and shouting
A baby|cries|crying
A baby|babbles and laughs|babbling and laughing
People|chat|chatting
People|laugh|laughing
A woman|laughs|laughing
A man|coughs|coughing
Someone|sneezes|sneezing
Someone|snores|snoring
Someone|whistles a tune|whistling a tune
Someone|breathes heavily|breathing heavily
A crowd|cheers|cheering
A crowd|applauds|applauding
A crowd|murmurs|murmuring
A choir|sings|singing
A man|sings|singing
An announcer|speaks over a loudspeaker|speaking over a loudspeaker
Someone|walks on gravel|walking on gravel
Someone|walks on a wooden floor|walking on a wooden floor
Someone|runs up the stairs|running up the stairs
Someone|crunches through snow|crunching through snow
Someone|knocks on a door|knocking on a door
A door|creaks open|creaking open
A door|slams shut|slamming shut
Someone|turns the pages of a book|turning the pages of a book
Someone|crumples paper|crumpling paper
Someone|writes with a pencil|writing with a pencil
Someone|types on a keyboard|typing on a keyboard
Someone|clicks a mouse|clicking a mouse
Someone|opens a zipper|opening a zipper
Someone|strikes a match|striking a match
Someone|pours water into a glass|pouring water into a glass
Someone|washes dishes|washing dishes
Someone|chops vegetables|chopping vegetables
Someone|drops coins on a table|dropping coins on a table
Someone|rattles keys|rattling keys
Someone|hammers a nail|hammering a nail
Someone|saws wood|sawing wood
Someone|drills into a wall|drilling into a wall
Someone|scrapes metal|scraping metal
Someone|flushes a toilet|flushing a toilet
Food|sizzles in a pan|sizzling in a pan
A kettle|boils|boiling
Glass|breaks|breaking
Metal objects|clank together|clanking together
Dishes|clatter|clattering
A chainsaw|runs|running
A lawn mower|drones|droning
A vacuum cleaner|hums|humming
A washing machine|spins|spinning
A fan|whirs|whirring
A machine|hums steadily|humming steadily
A machine|clatters in rhythm|clattering in rhythm
An air conditioner|hums|humming
A car|passes by|passing by
A car engine|idles|idling
A car|starts and drives away|starting and driving away
A car horn|honks|honking
A truck|rumbles past|rumbling past
A motorcycle|revs its engine|revving its engine
Traffic|flows on a busy road|flowing on a busy road
A bus|brakes and stops|braking and stopping
A train|rolls over the tracks|rolling over the tracks
A train|blows its horn|blowing its horn
An aeroplane|flies overhead|flying overhead
A helicopter|flies past|flying past
A boat engine|chugs|chugging
A siren|wails|wailing
An ambulance|passes with its siren on|passing with its siren on
A fire alarm|beeps|beeping
An alarm clock|rings|ringing
A telephone|rings|ringing
A doorbell|chimes|chiming
A clock|ticks|ticking
A church bell|tolls|tolling
Small bells|jingle|jingling
Wind chimes|tinkle|tinkling
Rain|falls|falling
Rain|patters on a roof|pattering on a roof
Heavy rain|pours down|pouring down
Thunder|rumbles|rumbling
Wind|blows|blowing
Wind|rushes through the trees|rushing through the trees
Leaves|rustle|rustling
Waves|break on the shore|breaking on the shore
A stream|trickles over stones|trickling over stones
A waterfall|roars|roaring
Water|drips into a bucket|dripping into a bucket
Water|runs from a tap|running from a tap
Water|bubbles|bubbling
Someone|splashes in a pool|splashing in a pool
A fire|crackles|crackling
Fireworks|explode|exploding
A gun|fires several shots|firing several shots
A piano|plays a slow melody|playing a slow melody
A guitar|is strummed|being strummed
A violin|plays|playing
A flute|plays a high note|playing a high note
Drums|beat a steady rhythm|beating a steady rhythm
A band|plays dance music|playing dance music
An orchestra|plays|playing
Electronic music|plays|playing
A music box|plays|playing
A radio|crackles with static|crackling with static
Footsteps|echo in a hallway|echoing in a hallway
A ball|bounces|bouncing
A squeaky wheel|turns|turning
Something heavy|falls to the floor|falling to the floor
"""

_PLACES = (
    "in the distance",
    "nearby",
    "in the background",
    "outdoors",
    "in a large room",
    "in a small room",
    "close by",
    "on a street",
    "in a park",
    "far away",
    "in an echoing hall",
    "at night",
    "in a forest",
    "in a kitchen",
)
_MANNERS = (
    "repeatedly",
    "loudly",
    "softly",
    "again and again",
    "for a while",
    "several times",
    "continuously",
)


def composed_captions(count: int, seed: int) -> list[str]:
    """At most `count` distinct captions of one or two sound events; the same seed gives the same list."""
    rng = random.Random(seed)  # noqa: S311 - reproducible training data, not a secret
    events = [line.split("|") for line in _EVENTS.strip().splitlines()]
    captions: dict[str, None] = {}
    for _ in range(4 * count):
        if len(captions) == count:
            break
        captions[_compose(rng, events)] = None
    return list(captions)


def _compose(rng: random.Random, events: list[list[str]]) -> str:
    (subject, does, doing), (subject2, does2, doing2) = rng.sample(events, 2)
    place, manner = rng.choice(_PLACES), rng.choice(_MANNERS)
    lower, lower2 = _lower(subject), _lower(subject2)
    return rng.choice(
        (
            f"{subject} {does} {place}.",
            f"{subject} {does} {manner}.",
            f"{subject} {does} {manner} {place}.",
            f"{subject} {doing} {place}.",
            f"{subject} {does} while {lower2} {does2} {place}.",
            f"{subject} {does} as {lower2} {does2}.",
            f"{subject} {does} and then {lower2} {does2}.",
            f"{subject} {does}, followed by {lower2} {doing2}.",
            f"{subject} {doing} with {lower2} {doing2} {place}.",
            f"There is {lower} {doing} {place}." if subject.startswith(("A ", "An ")) else f"{subject} {does}.",
            f"{subject} {does} and {lower2} {does2} at the same time.",
        )
    )


def _lower(subject: str) -> str:
    return subject[0].lower() + subject[1:]
