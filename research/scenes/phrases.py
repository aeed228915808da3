"""How each sound is said: clauses with a subject and a verb, and nouns that take a singular verb.

Written for the scenes alone. Nothing here claims a number of times, or a place that the sound does not give away.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Phrases:
    """The words for one sound class.

    Attributes:
        clauses: "a dog barks": what can stand as a sentence.
        nouns: "the barking of a dog": what can be the subject of "is heard".
        manners: what may follow a clause when nothing else is heard.
        keyword: words of which one is in every clause and noun, so that a reader knows the sound is named.
        behind: where a quiet one is heard.
    """

    clauses: tuple[str, ...]
    nouns: tuple[str, ...]
    manners: tuple[str, ...]
    keywords: tuple[str, ...]
    behind: str = "in the background"


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


_FAR = "in the distance"

PHRASES: Mapping[str, Phrases] = {
    "dog bark": Phrases(
        _lines("""a dog barks
            a dog is barking
            a dog gives sharp barks
            a dog lets out loud barks
            a watchful dog keeps barking
            an excited dog is barking away
            the neighbour's dog barks
            an agitated dog barks at something"""),
        _lines("""barking
            a barking dog
            the barking of a dog
            a dog's sharp bark
            the loud bark of a dog"""),
        _lines("""without settling down
            over and over
            at someone or something
            with short breaks in between"""),
        ("bark",),
        _FAR,
    ),
    "baby cry": Phrases(
        _lines("""a baby cries
            a baby is crying
            an infant wails
            an upset baby is wailing
            a newborn cries for attention
            an infant is crying hard
            an unhappy baby keeps crying
            a tiny baby wails and gasps"""),
        _lines("""crying
            a crying baby
            the crying of a baby
            a baby's wail
            the cry of an infant"""),
        _lines("""and will not be soothed
            at the top of its lungs
            and catches its breath in between
            in obvious distress"""),
        ("cries", "cry", "wail"),
    ),
    "rooster": Phrases(
        _lines("""a rooster crows
            a rooster is crowing
            a cockerel gives its crow
            a farmyard rooster calls out
            a rooster announces itself
            a proud rooster lets out a crow
            the rooster crows shrilly
            a cockerel is crowing at full voice"""),
        _lines("""a rooster
            a crowing rooster
            the crow of a rooster
            a cockerel's call
            the shrill crow of a cockerel"""),
        _lines("""as if to wake the whole farm
            in a shrill and drawn-out voice
            at full volume
            out in the open"""),
        ("rooster", "cockerel"),
        _FAR,
    ),
    "person sneeze": Phrases(
        _lines("""a person sneezes
            somebody sneezes
            a person is sneezing
            somebody lets out a sneeze
            a person gives a hearty sneeze
            somebody has to sneeze
            a person with a cold sneezes
            somebody sneezes without holding back"""),
        _lines("""sneezing
            a sneeze
            a hearty sneeze
            a person's sneeze
            the sneezing of a person"""),
        _lines("""with a start
            into the quiet of a room
            quite forcefully
            and then again after a moment"""),
        ("sneez",),
    ),
    "clock tick": Phrases(
        _lines("""a clock ticks
            a clock is ticking
            a clock ticks away evenly
            a mechanical clock keeps ticking
            an old clock is ticking away
            the hand of a clock ticks on
            a clock marks time with its ticking
            a watch or clock ticks"""),
        _lines("""a ticking clock
            the ticking of a clock
            a clock's steady tick
            the even tick of a clock
            the tick of a clock"""),
        _lines("""at an even pace
            in a silent room
            without missing a beat
            second after second"""),
        ("tick",),
    ),
    "fire crackling": Phrases(
        _lines("""a fire crackles
            a fire is crackling
            burning wood crackles and pops
            logs are crackling in the flames
            a wood fire burns and snaps
            a fire pops and hisses
            flames eat at the crackling wood
            a fire burns with little pops"""),
        _lines("""a crackling fire
            the crackle of a fire
            the crackling of burning wood
            the popping of a fire
            the snap of burning wood"""),
        _lines("""as the wood burns down
            in irregular bursts
            now stronger, now weaker
            at a gentle pace"""),
        ("fire", "wood", "flame"),
    ),
    "rain": Phrases(
        _lines("""rain comes down
            rain is coming down
            the rain keeps falling
            raindrops are drumming on a surface
            a shower of rain is passing over
            rain beats on the ground
            it is raining without a break
            rainwater splashes on the ground"""),
        _lines("""rain
            falling rain
            a shower of rain
            the sound of the rain
            the drumming of raindrops"""),
        _lines("""without letting up
            at a constant rate
            and soaks everything around
            on a wet day"""),
        ("rain",),
    ),
    "sea waves": Phrases(
        _lines("""waves wash ashore
            sea waves are rolling in
            the surf rushes up a beach
            waves from the sea keep breaking
            the ocean washes against the coast
            waves tumble onto a beach
            the sea surges and draws back
            ocean surf is pounding the coast"""),
        _lines("""the surf
            the surf of the sea
            the wash of the waves
            the rush of ocean waves
            the sea breaking on a beach"""),
        _lines("""with a long hiss of foam
            on a windy coast
            in a slow rhythm
            one after the other"""),
        ("wave", "surf", "sea", "ocean"),
    ),
    "helicopter": Phrases(
        _lines("""a helicopter passes over
            a helicopter is hovering
            a helicopter beats the air
            the rotor of a helicopter thuds
            a helicopter circles above
            helicopter blades are chopping away
            a helicopter is in flight
            a low helicopter throbs through the air"""),
        _lines("""a helicopter
            a helicopter's rotor
            the throb of a helicopter
            the beating of helicopter blades
            a helicopter in flight"""),
        _lines("""with a heavy beat of its blades
            somewhere up in the sky
            with a thudding rotor
            for the length of the recording"""),
        ("helicopter",),
        _FAR,
    ),
    "chainsaw": Phrases(
        _lines("""a chainsaw runs
            a chainsaw is being used
            a chainsaw roars
            a worker runs a chainsaw
            a chainsaw snarls and bites into wood
            a chainsaw is buzzing away
            the motor of a chainsaw screams
            a logger works with a chainsaw"""),
        _lines("""a chainsaw
            the roar of a chainsaw
            a chainsaw's snarl
            the buzz of a chainsaw
            a petrol chainsaw"""),
        _lines("""at high speed
            with a harsh and rattling motor
            as if a tree were being felled
            and changes its pitch under load"""),
        ("chainsaw",),
        _FAR,
    ),
    "birds": Phrases(
        _lines("""birds twitter
            birds are twittering
            small birds call to each other
            birds trill and chirrup
            a few birds exchange calls
            little birds are chirping away
            birds answer one another
            birds are singing short phrases"""),
        _lines("""birdsong
            the twitter of birds
            the chirping of small birds
            bright birdsong
            the trilling of birds"""),
        _lines("""in quick high phrases
            back and forth
            from branch to branch
            with trills and quick notes"""),
        ("bird",),
        _FAR,
    ),
    "church bell": Phrases(
        _lines("""a bell rings
            a church bell rings
            a church bell is ringing
            a large bell is struck
            the bell of a church strikes
            a heavy bell resounds
            a church bell sounds the hour
            a deep bell is tolling
            a bell rings out from a tower"""),
        _lines("""a church bell
            the tolling of a bell
            a large ringing bell
            the stroke of a bell
            the toll of a church bell"""),
        _lines("""and every stroke fades slowly
            with long ringing strokes
            from a church tower
            slowly and solemnly"""),
        ("bell",),
        _FAR,
    ),
    "siren": Phrases(
        _lines("""a siren sounds
            a siren is wailing
            a siren rises and falls
            the siren of an emergency vehicle wails
            a siren howls up and down
            an emergency siren is going off
            a warning siren blares
            a siren keeps wailing"""),
        _lines("""a siren
            a wailing siren
            the wail of a siren
            an emergency siren
            the rise and fall of a siren"""),
        _lines("""somewhere in town
            up and down without stopping
            as an emergency vehicle goes by
            over the hum of a street"""),
        ("siren",),
        _FAR,
    ),
    "telephone": Phrases(
        _lines("""a telephone rings
            a phone is ringing
            an old telephone rings loudly
            a landline phone keeps ringing
            the bell of a telephone rings
            an unanswered phone is ringing
            a rotary phone gives its ring
            an old-fashioned phone rings"""),
        _lines("""a ringing telephone
            a phone's ring
            the ring of a telephone
            the ringing of an old phone
            a telephone bell"""),
        _lines("""and nobody picks up
            with an old metal bell
            in long bursts
            waiting to be answered"""),
        ("phone",),
    ),
    "footsteps": Phrases(
        _lines("""footsteps crunch
            footsteps crunch over gravel
            shoes are crunching on gravel
            a walker crosses the gravel
            slow footsteps go by on gravel
            feet tread on loose stones
            steady footsteps are moving over gravel
            a walker treads on loose gravel"""),
        _lines("""crunching gravel
            the crunch of footsteps
            a walk on gravel
            the tread of feet on gravel
            the crunch of gravel underfoot
            the crunching of someone's footsteps"""),
        _lines("""at a regular pace
            along a path of loose stones
            with every step the same
            unhurriedly"""),
        ("step", "gravel", "stones"),
    ),
    "car engine": Phrases(
        _lines("""an engine revs
            a car engine runs
            a car engine is idling
            an engine revs up
            a motor revs and settles
            a car revs its engine
            an engine is being revved
            a driver revs a car engine
            an engine growls and winds down"""),
        _lines("""a car engine
            a revving engine
            the growl of an engine
            the revving of a motor
            a running car engine"""),
        _lines("""and speeds up now and then
            while the car stands still
            and drops back to a low rumble
            with a rough low tone"""),
        ("engine", "motor"),
    ),
    "thunderstorm": Phrases(
        _lines("""thunder rolls
            a thunderstorm is raging
            thunder booms in a storm
            thunder growls above the rain
            a thunderclap rolls away
            a thunderstorm brings heavy claps
            a peal of thunder breaks
            thunder is rolling through the rain"""),
        _lines("""thunder
            a thunderstorm
            a roll of thunder
            the boom of thunder
            the rumble of thunder"""),
        _lines("""and slowly dies away
            with a crack and a long roll
            over the steady hiss of rain
            in a rainy sky"""),
        ("thunder",),
        _FAR,
    ),
    "wind": Phrases(
        _lines("""wind gusts
            a strong wind is blowing
            the wind whistles round a corner
            gusts of wind rise and drop
            a gusty wind howls
            the wind is howling
            wind moans and swells
            a blustery wind sweeps past"""),
        _lines("""a howling wind
            the howl of the wind
            gusty wind
            the moan of the wind
            the whistling of the wind"""),
        _lines("""around the corner of a house
            in long uneven gusts
            now stronger and now weaker
            over open country"""),
        ("wind",),
    ),
}
"""By sound class, a key of `research.scenes.sounds.CHARACTERS`."""
