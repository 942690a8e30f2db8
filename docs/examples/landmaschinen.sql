-- A dealer's database as it grew over thirty years: German names, two branches in one set of tables, keys of several
-- columns, flags as J and N, days as text, amounts in cents. Nobody shaped it for Tidings; landmaschinen.toml maps it.

CREATE TABLE KUNDEN (
  FIL         char(2)      NOT NULL,  -- branch
  KDNR        integer      NOT NULL,  -- number within the branch
  ANREDE      varchar(10),
  NAME        varchar(60),            -- "Last, First", or the company
  FIRMA_KZ    char(1),                -- J: NAME is a company
  EMAIL1      varchar(80),
  EMAIL2      varchar(80),
  LAND        varchar(3),             -- A, D, CH as on number plates
  SPRACHE     char(1),                -- 1 German, 2 Slovene
  WERBUNG     char(1),                -- J: has agreed to marketing
  ANGELEGT    varchar(10),            -- 31.12.1999
  GELOESCHT   char(1),                -- J: deleted
  KREDITLIMIT integer,
  PRIMARY KEY (FIL, KDNR)
);

CREATE TABLE TELEFON (
  FIL  char(2) NOT NULL,
  KDNR integer NOT NULL,
  LFD  integer NOT NULL,
  ART  char(1),                       -- M mobile, F landline
  NR   varchar(30),
  PRIMARY KEY (FIL, KDNR, LFD)
);

CREATE TABLE MASCHINEN (
  FIL       char(2)     NOT NULL,
  MASCHNR   varchar(20) NOT NULL,
  KDNR      integer,
  ART       varchar(20),
  FABRIKAT  varchar(30),
  TYP       varchar(30),
  VERKAUFT  varchar(10),              -- 31.12.1999
  BSTD      varchar(12),              -- hours, with a decimal comma
  GARANTIE  varchar(10),
  PRIMARY KEY (FIL, MASCHNR)
);

CREATE TABLE AUFTRAEGE (
  AUFNR    integer NOT NULL PRIMARY KEY,
  FIL      char(2) NOT NULL,
  KDNR     integer,
  MASCHNR  varchar(20),
  EINGANG  varchar(16),               -- 31.12.1999 08:30
  FERTIG   varchar(16),
  ABGEHOLT varchar(16),
  STATUS   char(1)                    -- O open, F finished, A fetched
);
CREATE INDEX AUFTRAEGE_KUNDE ON AUFTRAEGE (FIL, KDNR);
CREATE INDEX AUFTRAEGE_MASCHINE ON AUFTRAEGE (FIL, MASCHNR);

CREATE TABLE RECHNUNGEN (
  RENR       integer NOT NULL PRIMARY KEY,
  FIL        char(2) NOT NULL,
  KDNR       integer,
  FAELLIG    varchar(10),
  OFFEN_CENT bigint,
  BEZAHLT    char(1),
  STORNO     char(1)
);
CREATE INDEX RECHNUNGEN_KUNDE ON RECHNUNGEN (FIL, KDNR);

INSERT INTO KUNDEN VALUES
  ('01', 1, 'Frau', 'GRUBER, LENA',         'N', 'lena.gruber@example.com', 'gruber@example.org', 'A',  '1', 'J', '03.05.1999', 'N', 500000),
  ('01', 2, NULL,   'Weingut Steiner KG',   'J', 'hof@example.org',         '',                   'A',  '1', 'N', '17.11.2008', NULL, 0),
  ('01', 3, 'Herr', 'ALT, OTTO',            'N', 'otto@example.com',        NULL,                 'A',  '1', 'N', '01.01.1990', 'J', 0),
  ('02', 1, 'Herr', 'NOVAK, ANTON',         'N', NULL,                      NULL,                 'D',  '2', 'J', '29.02.2016', 'N', 0);

INSERT INTO TELEFON VALUES
  ('01', 1, 1, 'F', '+1 202 555 0147'),
  ('01', 1, 2, 'M', '+1 202 555 0148'),
  ('02', 1, 1, 'M', '(312) 555-0110');

INSERT INTO MASCHINEN VALUES
  ('01', 'T/100', 1, 'Traktor',      'Torvane',  'CT 25',    '08.06.2027', '12,5',    '08.06.2030'),
  ('01', 'M-7',   2, 'Rasentraktor', 'Ostara',   'Meadow',   '29.02.2020', '1.204,0', 'lebenslang'),
  ('02', 'T/100', 1, 'Traktor',      'Kestrel',  'Hillman',  '31.06.2021', NULL,      ''),
  ('02', 'S-1',   9, 'Motorsäge',    'Brackwell', 'C18',     '01.04.2024', '',        NULL);

INSERT INTO AUFTRAEGE VALUES
  (9001, '01', 1, 'T/100', '10.06.2027 08:30', '11.06.2027 16:00', '12.06.2027 09:15', 'A'),
  (9002, '01', 2, 'M-7',   '02.03.2024 10:00', '04.03.2024 12:00', '05.03.2024 17:30', 'A'),
  (9003, '02', 1, 'T/100', '14.06.2027 07:45', NULL,               NULL,               'O');

INSERT INTO RECHNUNGEN VALUES
  (70001, '01', 1, '15.05.2027', 125050, 'N', 'N'),
  (70002, '01', 2, '01.06.2027', 0,      'J', 'N'),
  (70003, '02', 1, '02.02.2027', 9900,   'N', 'J');
