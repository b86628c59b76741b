"""What may be published: rules over a commit, each with a name and a remedy. Start with `rules`.

`publication` is the one way into a repository. May import `repositories`, `people`, `storage` and `database`.
"""
