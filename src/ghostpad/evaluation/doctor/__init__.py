"""`ghostpad doctor`: verdicts on a recording and on a model, each with a number, a limit and a setting.

`frames` judges the frames, `controls` the recorded controls (both by the features of `motion`), `model` a
trained model; `diagnosis` is the verb.
"""
