"""What runs in the box: standard library only, started with neither site packages nor environment.

boot      takes the plan from the first frame, puts up the layers, becomes the keeper
keeper    speaks frames with the supervisor; owns clocks, pipes and caps; never runs model code
zygote    a warm interpreter that forks; it is told limits only, so no program's data is ever in it
state     what a new process has of the interpreter, and whether a used one still has it
runner    the program process: compiles and runs one submission
"""
