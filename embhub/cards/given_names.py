"""Common given names of several languages, without those that are everyday words of English or of imaging.

(`max`, `mark`, `iris`, `rose`, `jan`, `will` and their like would hit projections, eyes, months and sentences.)
"""

from __future__ import annotations

import re

_NAMES = """
aaron abdul abigail adam adele adriana agnes ahmed aisha alan albert alessandro alejandro alex alexander alexandra
alfred alice alicia amanda amelia amina ana anastasia anders andrea andreas andrew andrzej angela anita anna anne
annemarie anneke annika antonio antonia arthur astrid barbara bart beatrice benjamin bernard bernd bert birgit bjorn
bram brenda brian brigitte camille carlos carmen carol caroline catherine cecilia charles charlotte chloe christa
christian christiane christina christine christoph christopher clara claudia claus cornelia cornelis daniel daniela
danielle david deborah denise dennis diana diego dieter dimitri dirk dmitri dolores dominik donald dorothea dorothy
douglas edith eduardo edward elena elisabeth elizabeth ella emilia emily emma enrico eric erik erika ernst esther
eugene eva evelyn fatima felix fernando filip florian francesca francesco francis francisco frank franz frederic
frederik friedrich fritz gabriel gabriela geert george georg georgios gerald gerard gerda gerhard giovanni giulia
giuseppe gordon greta guido guillaume gunther gustav hannah hans harald harold hassan heather heidi heike heinrich
heinz helen helena helga helmut hendrik henri henry herbert hermann hiroshi horst howard hugo ibrahim igor ingrid
irena irene isaac isabel isabella ivan jack jacob jacqueline jacques jakob jakub james jane janet javier jean
jeffrey jennifer jens jeremy jessica joan joanna johan johann johanna johannes john jonas jonathan jorge jose josef
joseph joshua juan juergen julia julian julie jurgen karen karin karl katarzyna kate katharina katherine kathleen
katrin keith kenneth kevin khaled kimberly klaas klaus koen konrad krzysztof lars laura lauren laurent lawrence
leila lena leon leonardo lieke linda lisa lise louis louise lucas lucia luigi luis lukas magdalena manfred manuel
marcel marcin marco margaret margarethe maria marian marianne marie marieke marija mario marion marta martha martijn
martin martina mary matteo matthew matthias maurice mehmet melissa michael michaela michel michelle miguel mikhail
mohamed mohammed monica monika muhammad mustafa nadia nancy natalia natalie natasha nathan nicholas nicola nicolas
nicole niels nikolai nina norbert olga oliver olivia omar oscar otto pablo pamela paolo patricia patrick paul paula
pauline pavel pedro peter petra philip philippe pierre pieter piotr rachel rafael rainer ralf ralph raymond rebecca
regina renate renee ricardo richard rita robert roberto roger roland rolf ronald rosa rosemarie rudolf ruth ruud
samantha samuel sandra sara sarah sebastian sergei sergio sharon sibylle siegfried sigrid simone sofia sonja sophia
sophie stefan stefanie stephan stephanie stephen steven stijn susan susanne svetlana sven sylvia tanja tatiana
teresa theodor theresa thomas thorsten timothy tobias torsten ulrich ulrike ursula uwe valentina valerie vanessa
vera veronica victoria vincent virginia vladimir volker walter waltraud wang wei werner wilhelm willem william
wolfgang xavier yasmin yusuf yvonne zhang zofia
"""
GIVEN_NAMES = frozenset(_NAMES.split())

_EPONYMS = """
kellgren lawrence
charcot marie tooth
marie struempell
marie strumpell
nancy index
nancy score
thomas splint
spetzler martin
weber christian
hand schueller christian
hand schuller christian
jakob creutzfeldt
creutzfeldt jakob
pierre robin sequence
pierre robin syndrome
alexander disease
christian disease
"""
_BETWEEN = r"[\s_.-]*"
_SPELLINGS = "|".join(_BETWEEN.join(words.split()) for words in _EPONYMS.strip().splitlines())
EPONYMS = re.compile(rf"(?i:(?<![a-z])(?:{_SPELLINGS})(?![a-z]))")
"""Scales and diseases of imaging that are named after people, and hold a given name of the list."""
