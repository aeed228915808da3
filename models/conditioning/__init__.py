"""The method of DRCap: retrieve, project, prompt, write, choose.

`method` joins the steps. `projection` pulls an audio embedding onto a domain's captions, `conditioning` makes the
prompt, and `reranking` chooses among the captions of a beam search.
"""
