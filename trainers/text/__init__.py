"""The parts of the text policy: loading, chat, drawing, decoding, reviewing."""
