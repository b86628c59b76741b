"""A study's training at a site, and the file that its coordinator makes of the sums. Start with `learner`, then
`proposing` and `assembling`. Messages, masks and what is remembered are in `embhub.study`.
"""
