-- Lists are narrowed by licence too: the releases that are there get the label, and the text that facets are counted from.
INSERT OR IGNORE INTO label
SELECT 'licence', summary ->> '$.release.licence', position, id, private = 0 AND released = 1 AND hidden = 0
FROM repository WHERE released = 1 AND (summary ->> '$.release.licence') IS NOT NULL;
UPDATE repository SET facets = facets || char(30) || 'licence' || char(31) || (summary ->> '$.release.licence')
WHERE released = 1 AND facets <> '' AND (summary ->> '$.release.licence') IS NOT NULL;
