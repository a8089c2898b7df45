"""vision: the parts by which language models see."""
