"""Eight worked word problems, written for this project: the examples of mathqa/gsm8k_8shot."""

SHOTS: tuple[tuple[str, str], ...] = (
    (
        "A bakery fills 6 trays with 15 rolls each. By noon 52 rolls are sold. How many are left?",
        "The trays hold 6 * 15 = 90 rolls. After noon 90 - 52 = 38 are left.\n#### 38",
    ),
    (
        "Mira cycles 12 km to work and the same way back, 5 days a week. The chain is oiled every "
        "60 km. How often is it oiled in a week?",
        "A day has 2 * 12 = 24 km, a week 5 * 24 = 120 km. That is 120 / 60 = 2 times.\n#### 2",
    ),
    (
        "A tank holds 240 liters and is a quarter full. A hose gives 20 liters a minute. How many "
        "minutes until the tank is full?",
        "There are 240 / 4 = 60 liters in it, so 240 - 60 = 180 are missing. "
        "At 20 a minute that takes 180 / 20 = 9 minutes.\n#### 9",
    ),
    (
        "Three tickets cost 42 dollars. How much do seven tickets cost?",
        "One ticket costs 42 / 3 = 14 dollars, seven cost 7 * 14 = 98 dollars.\n#### 98",
    ),
    (
        "Otto is 4 years older than Lea. In 3 years the two will be 40 years old together. How old "
        "is Lea now?",
        "Now they are 40 - 2 * 3 = 34 years old together. Without the 4 years Otto has more, "
        "twice Lea's age is 34 - 4 = 30, so Lea is 15.\n#### 15",
    ),
    (
        "A coat of 150 dollars is reduced by 20 percent, and a scarf of 30 dollars by half. What "
        "do both cost now?",
        "The coat costs 150 - 30 = 120 dollars, the scarf 30 / 2 = 15 dollars, both "
        "120 + 15 = 135 dollars.\n#### 135",
    ),
    (
        "A printer makes 18 pages a minute, a second one half as many. How many pages do both make "
        "in 10 minutes?",
        "The second makes 18 / 2 = 9 pages a minute, both 18 + 9 = 27. In 10 minutes that is "
        "270 pages.\n#### 270",
    ),
    (
        "Jo reads 24 pages on Monday, twice as many on Tuesday and 10 fewer than on Tuesday on "
        "Wednesday. How many pages in all?",
        "Tuesday has 2 * 24 = 48 pages, Wednesday 48 - 10 = 38, all three days "
        "24 + 48 + 38 = 110.\n#### 110",
    ),
)
