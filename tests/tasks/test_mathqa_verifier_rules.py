"""Every rule of equivalence, in cases written for this project: gold, sign, answer.

`==` is accepted, `!=` is refused, `~~` is accepted in evaluation and refused in training (E9).
"""

import re

import pytest

from tasks.mathqa_verifier import equal, same

TABLE = r"""
E1 matrices
    \begin{pmatrix} -1/3 \\ 5/3 \end{pmatrix}  ==  \begin{bmatrix} -\frac13 \\ \frac53 \end{bmatrix}
    \begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}  !=  \begin{pmatrix} 1 & 0 \\ 0 & 2 \end{pmatrix}
    \begin{pmatrix} 1 \\ 2 \end{pmatrix}  !=  \begin{pmatrix} 1 & 2 \end{pmatrix}
E1 spellings
    x^2  ==  x²
    \frac12  ==  ½
    \pi  ==  π
    \sqrt{3}  ==  √3
    3  !=  ٣
    1000  !=  1_000
    10  !=  1e1
    5  ==  5.
    .5  ==  0.5
    25  ==  025
    51  ==  51.0
    7  ==  7 \\
E2 separators and digits
    1000000  ==  1,000,000
    10080  ==  10,\!080
    11,\! 111,\! 111,\! 100  ==  11111111100
    11111111100  !=  11111111101
    58,500  ==  58500
    12{,}345  ==  12345
    (1,234)  ==  (1,234)
    1800  ==  $1,800.00
    32348  ==  \$32,\!348
E2 exact and rounded numbers
    \frac{1}{2004!}  !=  \frac{1}{2006!}
    \pi  !=  \frac{355}{113}
    \pi  ==  3.14159265
    \sqrt2  ==  1.414214
    \sqrt2  !=  1.41421
    100!  !=  10^{100}
    \frac{100!}{2^{50}}  ==  100!/2^{50}
    2^{1009}  ==  2\cdot 2^{1008}
    10^{100},10^{1/100}  ==  \sqrt[100]{10}, 10^{100}
    \frac13  !=  0.3333
    \frac13  ==  0.3333333
    1  ==  1.000001
    1  !=  1.000002
    1000000  ==  1000000.9
    1000000  !=  1000001
E2 powers of ten
    1.0\times 10^{3}  ==  10^3
    6.02\times10^{23}  ==  6.02\cdot 10^{23}
    a=b  ==  b=a
    \frac{1}{2} or \frac{1}{3}  ==  \frac13,\frac12
E3 complex numbers
    e^{i\pi/2}  ==  i
    \frac{1+i}{\sqrt2}  ==  e^{i\pi/4}
    i^2  ==  -1
    \sqrt{-4}  ==  2i
    (1+i)^2  ==  2i
    \frac{1}{i}  ==  -i
    3+4i  !=  3-4i
    \cos\frac{\pi}{3}+i\sin\frac{\pi}{3}  ==  \frac12+\frac{\sqrt3}{2}i
    |3+4i|  ==  5
E3 trigonometry and roots
    \frac{\sqrt{6}+\sqrt2}{4}  ==  \cos 15^\circ
    \sin 30^\circ  ==  \frac12
    \tan 45^\circ  ==  1
    \sin^2 x  ==  \frac{1-\cos 2x}{2}
    \cot x  ==  \frac{1}{\tan x}
    \cot x  ==  \frac{\cos x}{\sin x}
    \arctan 1  ==  \frac\pi4
    \sin^{-1} 1  ==  \frac\pi2
    \sqrt[3]{x^3}  ==  x
    |x|  ==  \sqrt{x^2}
    \sqrt{x}\sqrt{x}  ==  x
    (-8)^{1/3}  ==  -2
    x^{1/3}  ==  \sqrt[3]{x}
    \sqrt{x^2}  !=  x
    x^2+2x+1  !=  (t+1)^2
    \sqrt[4]{-1}  ==  \frac{1+i}{\sqrt2}
E3 combinatorics and series
    \binom{n}{2}  ==  \frac{n(n-1)}{2}
    \binom{2n}{n}  ==  \frac{(2n)!}{n!^2}
    \frac{d !}{2 k(d-k) !}  ==  \frac{d!}{2k (d-k)!}
    n!  ==  n(n-1)!
    (n+1)!-n!  ==  n\cdot n!
    \lfloor\sqrt{n-1}\rfloor  ==  \lfloor \sqrt{n-1} \rfloor
    \lceil n / 2\rceil+1  !=  \lfloor (n+1)/2\rfloor +1
    2^{k-n}  ==  \frac{2^k}{2^n}
    (-1)^n  ==  (-1)^{n+2}
    (-1)^n  !=  (-1)^{n+1}
    \sum_{k=1}^{n} k  ==  \frac{n(n+1)}{2}
    \sum_{i=1}^{10} i  ==  55
    \prod_{k=1}^{5} k  ==  120
E3 polynomials
    -13x+3  ==  3-13x
    p - q  !=  q-p
    x^5 - x^4 + x^3 - x^2 + x - 1  ==  (x-1)(x^4+x^2+1)
    (a+5)(b+2)  ==  ab+2a+5b+10
    \frac{11+9a}{20}  ==  0.55+0.45a
    2k+2  ==  2(k+1)
    5r^5  ==  5*r^5
    2x  !=  2t
    x_1+x_2  ==  x_2+x_1
    a_n  ==  a_{n}
E3 algebra in a worker
    \int_0^1 x\,dx  ==  \frac12
    \lim_{x\to 0}\frac{\sin x}{x}  ==  1
    \sum_{n=1}^{\infty}\frac{1}{n^2}  ==  \frac{\pi^2}{6}
    \frac{\pi^2}{6}  ==  \sum_{n=1}^{\infty}\frac{1}{n^2}
    \gcd(12,18)  ==  6
    \max(1,2)  ==  2
    \begin{vmatrix}1&2\\3&4\end{vmatrix}  ==  -2
E4 tuples
    (3,4)  ==  3,4
    (3,4)  !=  4,3
    3,4  ==  (3,4)
    (3,4)  !=  [3,4]
    (1,2,3)  ==  \langle 1,2,3\rangle
    \left( 3, \frac{\pi}{2} \right)  ==  (3,\pi/2)
    (x,y)=(1,2)  ==  (1,2)
    (1,2)  ==  (x,y)=(1,2)
E5 sets and lists
    5  !=  5, 5
    5,7  !=  5
    \{5\}  !=  5
    \{1,2\}  ==  1,2
    1,2  ==  \{2,1\}
    \{1,2\}  !=  \{1,3\}
    1\text{ and }2  ==  2, 1
    \emptyset  ==  \{\}
E6 intervals
    (-\infty, 0) \cup\{1\}  ==  \{1\}\cup(-\infty,0)
    (-\infty,\infty)  ==  \mathbb{R}
    x\ne 2  ==  (-\infty,2)\cup(2,\infty)
E6 set builders
    \{x|x>3\}  ==  (3,\infty)
    \{x \mid x \in \mathbb{R}, x\neq 3\}  ==  x\ne3
E7 assignments
    x=1,y=2  ==  y=2,x=1
    x=1,y=2  !=  x=2,y=1
    x=1,y=2  ==  (1,2)
    x=1,y=2  ==  1,2
    x=1, x=3  ==  3,1
    x=1,3  ==  x=3,x=1
    a=2, a=-6-4 \sqrt{2}  ==  2, -6-4\sqrt 2
    5  ==  y=5
    f(x)=2x  ==  2x
    f(x)=2x  ==  f(x)=x+x
    f(x)=2x  !=  y=2x
    x=5  ==  2x=10
    x=5  ==  5=x
E7 chains
    5  ==  2+3=5
    5  ==  x=2+3=5
    5  !=  x=5=7
    0.5  ==  P=\frac{1}{2}=0.5
    5  !=  2+3=6
E7 names
    A  ==  \text{A}
    M=2^{N-2}+1  ==  2^{N-2}+1
    m_{\max }=n^{2}-n-1  ==  n^2-n-1
E8 equations
    y = -2x  !=  y=-2x+1
    5x - 7y + 11z + 4 = 0  ==  -5x+7y-11z-4=0
    5x - 7y + 11z + 4 = 0  ==  10x-14y+22z+8=0
    x^2+y^2=1  ==  y^2=1-x^2
    y=2x+3  ==  2x+3
    x^2=4  !=  x=2
E9 inequalities
    x>5  ==  5<x
    x>5  !=  x\ge5
    x>5  ==  (5,\infty)
    (5,\infty)  ~~  x>5
    1<x<2  ==  2>x>1
    [-2,7]  ~~  -2\le x\le 7
    x \in [-2,7]  ==  [-2,7]
    [-2,7]  ==  x \in [-2,7]
    x \in [-2,7]  ~~  -2 \leq x \leq 7
    x \in [-2,7]  !=  y \in [-2,7]
    2x>10  ==  x>5
    -x<3  ==  x>-3
    x+y>1  ==  1<x+y
    x+y>1  !=  x+y<1
    k \geqslant 2  ==  k\ge 2
    k \geqslant 2  ==  [2,\infty)
    (-\infty, 2) \cup (3, \infty)  ~~  x<2\text{ or }x>3
    (-\infty, 2) \cup (3, \infty)  ~~  x<2, x>3
    [0,1)\cup[1,2]  ==  [0,2]
    (0,1)\cup(1,2)  !=  (0,2)
    (-\sqrt{3}, \sqrt{3})  ~~  -\sqrt3<x<\sqrt3
E10 percent
    50\%  ==  0.5
    50\%  ==  \frac12
    0.5  ==  50\%
    50  ==  50\%
    50\%  !=  5
    50\%  !=  0.5\%
    62.5%  ==  62.5
    62.5%  ==  0.625
    10\%  ==  10\text{ percent}
E11 units
    5\text{ cm}  ==  5 cm
    5\text{ cm}  ==  5cm
    5\text{ cm}^2  ==  5\text{ square centimeters}
    5\text{ cm}^2  !=  5\text{ cm}
    864 \mbox{ inches}^2  ==  864
    864 \mbox{ inches}^2  ==  864 \text{ square inches}
    15\mbox{ cm}^2  !=  15\text{ cm}^3
    5\text{ m}  ==  5m
    5  ==  5 apples
    5\text{ apples}  !=  5\text{ pears}
    \$5  ==  5 \text{ dollars}
    \$5  !=  5 \text{ cents}
    60\text{ mph}  ==  60\text{ miles per hour}
    60\text{ km/h}  ==  60
    5.4 \text{ cents}  ==  5.4
    5.4 \text{ cents}  ==  5.4\text{ cents}
E11 degrees
    \frac{270}7\text{ degrees}  ==  \frac{270}{7}^\circ
    90^\circ  ==  90 degrees
    90^\circ  !=  90\text{ radians}
    (45^{\circ}, 60^{\circ})  ==  (45,60)
E12 bases
    2516_8  ==  2516_{8}
    2516  ==  2516_8
    1A3_{16}  ==  1A3
    52_8  !=  52_9
    52_8  !=  53
    52_{8}  ==  52_{\text{8}}
E13 choices
    \text{(B)}  ==  (B) 15
    B  ==  b
    B  ==  \textbf{(B)}
    B  ==  \textbf{(B) } 15
    B  ==  \text{B. foo}
    A, C  ==  C, A
    A, C  !=  A
    B  !=  (B) or (C)
    B  !=  BC
    B  !=  Both
    70  ==  (A) 70
    70  ==  \text{(A)} 70
    70  !=  A
    (C)  ==  \text{c}
    C  ==  \mathrm{C}
    A, C  ==  \text{A and C}
    B  !=  A
E14 text
    \text{Evelyn}  ==  evelyn
    \text{Evelyn}  !=  Carla
    even  ==  Even
    \text{no solution}  ==  No Solution
    xyz  ==  zyx
    xyz  !=  XYZ
    \text{east}  ==  east.
    \text{ellipse}  !=  an ellipse
E15 mixed numbers
    137 \frac{1}{2}  ==  137.5
    137 \frac{1}{2}  ==  275/2
    3 1/2  ==  3.5
    3\frac{5}{2}  ==  7.5
    -1\frac{1}{2}  ==  -1.5
    -1\frac{1}{2}  !=  -0.5
    2\frac{x}{3}  ==  \frac{2x}{3}
E16 plus-minus
    1 \pm \sqrt{19}  ==  1+\sqrt{19},1-\sqrt{19}
    1 \pm \sqrt{19}  !=  1-\sqrt{19}
    \pm 3  ==  3,-3
    \pm 3  ==  -3, 3
    3,-3  ==  \pm 3
    \{1\pm\sqrt{5},-2\}  ==  \{-2,1+\sqrt5,1-\sqrt5\}
    \{1\pm\sqrt{5},-2\}  ==  -2, 1\pm\sqrt5
    x=3\pm2\sqrt2  ==  x=3+2\sqrt2\text{ or }x=3-2\sqrt2
    x=3\pm2\sqrt2  ==  3+2\sqrt2,3-2\sqrt2
    (\pm1,2)  ==  (1,2),(-1,2)
E17 undefined and infinite
    nan  !=  nan
    0  !=  nan
    \infty  ==  +\infty
    \infty  ==  \infty
    -\infty  ==  -\infty
    1  !=  \frac{\infty}{\infty}
    \frac10  !=  \frac20
    0  !=  \frac{0}{0}
    0  !=  \infty-\infty
    1  !=  undefined
    1  !=  \tan 90^\circ
E18 repeating decimals
    0.\overline{3}  ==  \frac13
    0.1\overline{6}  ==  \frac16
    0.\overline{142857}  ==  1/7
    0.\overline{9}  ==  1
    0.\overline{3}  !=  0.3
E19 logarithms
    \ln 2  !=  \log_{10} 2
    \log 2  !=  \log_{10} 2
    \log 2  ==  \log 2
    \frac{\log 2}{\log 2-\log 3}  ==  \frac{\log 2}{\log(2/3)}
    \ln 8  ==  3\ln 2
    \log_2 x  ==  \frac{\ln x}{\ln 2}
    \log_{10} 2  ==  \lg 2
E20 programs
    8  !=  2**3
    2  !=  math.sqrt(4)
    5  !=  [5][0]
    5  !=  int("5")
    7  ==  (7)
    7  ==  {7}
    7  ==  $7$
    7  ==  \text{7}
    7  ==  \mathbf{7}
    7  ==  \boxed{7}
    7  !=  7 or so
E21 no evaluation without bound
    7  !=  9^{9^{9^{9}}}
    7  !=  (10^{10})!
    \frac{1}{10001!}  ==  \frac{1}{10001!}
    7  !=  10001!-10001!+7
    2^{40000}  ==  2^{40000}
    2^{40000}  !=  4^{20000}
    7  !=  \sum_{n=1}^{10001} n
    50005000  ==  \sum_{n=1}^{10000} n
    7  !=  (x+1)^{100000}
    7  !=  \int_0^1 x^x dx
"""


def cases() -> list[tuple[str, str, str, str]]:
    """Rule, gold, sign and answer of every row."""
    rows: list[tuple[str, str, str, str]] = []
    rule = ""
    for line in TABLE.strip("\n").splitlines():
        if not line.startswith(" "):
            rule = line
            continue
        row = re.fullmatch(r" {4}(.+?)  (==|!=|~~)  (.+)", line)
        assert row is not None, line
        rows.append((rule, row[1], row[2], row[3]))
    return rows


RULES = sorted({rule for rule, *_ in cases()})


def test_the_table_covers_every_rule():
    assert {rule.split()[0] for rule in RULES} == {f"E{number}" for number in range(1, 22)}


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str):
    for _, gold, sign, answer in (case for case in cases() if case[0] == rule):
        assert equal(gold, answer) == (sign != "!="), (gold, answer)
        assert equal(gold, answer, training=True) == (sign == "=="), (gold, answer, "training")


def test_other_alphabets_of_digits_and_signs():
    assert equal("-5", "\u22125")
    assert equal("5", "\uff15")
    assert not equal("3", "\u0663")


def test_votes_are_symmetric():
    for rule, gold, sign, answer in cases():
        if "worker" in rule:
            continue
        assert same(gold, answer) == same(answer, gold), (gold, answer)
        assert same(gold, answer) or sign == "!=", (gold, answer)


def test_answers_equal_themselves():
    for _, gold, _, _ in cases():
        assert equal(gold, gold) or gold == "nan", gold
