"""What people do with models: one module per task, the same from Python as from the command line.

from runtime.tasks.embed import embed_texts
from runtime.tasks.opened import open_model

vectors = embed_texts(open_model("folder"), ["one text", "another"]).vectors
"""
