/* test_dialog.c: lines of dialogues: times, speakers, blanks. */
#include "scratch.h"

#include "bertft/data.h"

static bft_error err;

/* One line as "speaker|name|text", "-" for no name, "blank" where the dialogue has ended. */
static const char *parse(const char *line, bft_speaker previous) {
    static char out[1024];
    bft_config *config = CONFIG();
    bft_dialog_format *format;
    assert_int_equal(bft_dialog_format_create(&err, &format, config), BFT_OK);
    size_t length = strlen(line);
    char *copy = malloc(length + 1); /* of the exact size: the sanitizer watches its end */
    assert_non_null(copy);
    memcpy(copy, line, length + 1);
    bft_turn turn;
    if (bft_dialog_line(format, copy, length, previous, &turn)) {
        assert_int_equal(strlen(turn.text), turn.length);
        snprintf(out, sizeof out, "%s|%s|%s", turn.speaker == BFT_CLIENT ? "client" : "operator",
                 turn.name != NULL ? turn.name : "-", turn.text);
    } else {
        snprintf(out, sizeof out, "blank");
    }
    free(copy);
    bft_dialog_format_destroy(format);
    bft_config_destroy(config);
    return out;
}

static const struct {
    const char *line, *turn;
} client_lines[] = {
    /* Speakers: listed names in any case, with or without blanks and numbers. */
    {"Клиент: Добрый день.", "client|Клиент|Добрый день."},
    {"Оператор: Здравствуйте!", "operator|Оператор|Здравствуйте!"},
    {"КЛИЕНТ: а", "client|КЛИЕНТ|а"},
    {"оПЕРАТОР:а", "operator|оПЕРАТОР|а"},
    {"client: hi", "client|client|hi"},
    {"AGENT: hi", "operator|AGENT|hi"},
    {"Customer:hi", "client|Customer|hi"},
    {"Пользователь : а", "client|Пользователь|а"},
    {"Клиент 2: а", "client|Клиент 2|а"},
    {"Оператор 15 : а", "operator|Оператор 15|а"},
    {"Клиент2: а", "client|Клиент2|а"},
    {"Клиент\xC2\xA0"
     "2: а",
     "client|Клиент\xC2\xA0"
     "2|а"},
    {"  Клиент: а  ", "client|Клиент|а"},
    {"\xC2\xA0Клиент:\xC2\xA0"
     "а\xE2\x80\x83\r",
     "client|Клиент|а"},
    {"Клиент:", "client|Клиент|"},
    {"Клиент: Оператор: а", "client|Клиент|Оператор: а"},
    /* A mark makes another letter. */
    {"Operator\xCC\x81: a", "client|-|Operator\xCC\x81: a"},
    /* Anything else before a colon is text. */
    {"Внимание: скидка", "client|-|Внимание: скидка"},
    {"Клиент Иван: а", "client|-|Клиент Иван: а"},
    {"Клиент -2: а", "client|-|Клиент -2: а"},
    {"2: а", "client|-|2: а"},
    {": а", "client|-|: а"},
    {"Клиент а", "client|-|Клиент а"},
    {"Клиент\xEF\xBC\x9A а", "client|-|Клиент\xEF\xBC\x9A а"}, /* a full-width colon */
    {"Мой Клиент: а", "client|-|Мой Клиент: а"},
    {"\xFF\xFE: a", "client|-|\xFF\xFE: a"},
    {"Кли\xD0: a", "client|-|Кли\xD0: a"},
    /* Times. */
    {"[12:03] Клиент: а", "client|Клиент|а"},
    {"[12:03]Оператор: а", "operator|Оператор|а"},
    {"[2024-05-01 12:03:44] Оператор 2: а", "operator|Оператор 2|а"},
    {"[01.05.2024, 12:03] а", "client|-|а"},
    {"[2024-05-01T12:03:44.120Z] а", "client|-|а"},
    {"[9:15 PM] Agent: a", "operator|Agent|a"},
    {"[12:03]", "client|-|"},
    {"[смеётся] Клиент: а", "client|-|[смеётся] Клиент: а"},
    {"[2] а", "client|-|[2] а"},
    {"[12:03 Клиент: а", "client|-|[12:03 Клиент: а"},
    {"[12:03 у дома] а", "client|-|[12:03 у дома] а"},
    {"[12:03:00000000000000000000000000000000000000] а", "client|-|[12:03:00000000000000000000000000000000000000] а"},
    /* The end of a dialogue. */
    {"", "blank"},
    {" \t\r", "blank"},
    {"\xC2\xA0 \xE3\x80\x80\xE2\x80\xA8", "blank"},
};

static void lines(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof client_lines / sizeof *client_lines; i++) {
        assert_string_equal(parse(client_lines[i].line, BFT_CLIENT), client_lines[i].turn);
    }
}

static void previous_speaker(void **state) {
    (void)state;
    assert_string_equal(parse("и ещё", BFT_OPERATOR), "operator|-|и ещё");
    assert_string_equal(parse("Внимание: скидка", BFT_OPERATOR), "operator|-|Внимание: скидка");
    assert_string_equal(parse("[12:03] и ещё", BFT_OPERATOR), "operator|-|и ещё");
    assert_string_equal(parse("Клиент: а", BFT_OPERATOR), "client|Клиент|а");
}

static void nul_in_text(void **state) {
    (void)state;
    bft_config *config = CONFIG();
    bft_dialog_format *format;
    assert_int_equal(bft_dialog_format_create(&err, &format, config), BFT_OK);
    char line[] = "Client: a\0b ";
    bft_turn turn;
    assert_true(bft_dialog_line(format, line, sizeof line - 1, BFT_CLIENT, &turn));
    assert_int_equal(turn.length, 3);
    assert_memory_equal(turn.text, "a\0b", 4);
    char name[] = "Cli\0ent: a";
    assert_true(bft_dialog_line(format, name, sizeof name - 1, BFT_CLIENT, &turn));
    assert_null(turn.name);
    bft_dialog_format_destroy(format);
    bft_config_destroy(config);
}

static void own_names(void **state) {
    (void)state;
    bft_config *config = CONFIG("DIALOG.CLIENT_NAMES", "['Straße', 'й', 'R2']", "DIALOG.OPERATOR_NAMES", "[Бот]");
    bft_dialog_format *format;
    assert_int_equal(bft_dialog_format_create(&err, &format, config), BFT_OK);
    static const char *const clients[] = {"STRASSE: a", "Straße: a", "Й: a", "И\xCC\x86: a", "r2: a", "R2 3: a"};
    bft_turn turn;
    for (size_t i = 0; i < sizeof clients / sizeof *clients; i++) {
        char line[64];
        snprintf(line, sizeof line, "%s", clients[i]);
        assert_true(bft_dialog_line(format, line, strlen(line), BFT_OPERATOR, &turn));
        assert_int_equal(turn.speaker, BFT_CLIENT);
        assert_string_equal(turn.text, "a");
    }
    char other[] = "Клиент: a"; /* listed no more */
    assert_true(bft_dialog_line(format, other, strlen(other), BFT_OPERATOR, &turn));
    assert_int_equal(turn.speaker, BFT_OPERATOR);
    assert_null(turn.name);
    bft_dialog_format_destroy(format);
    bft_config_destroy(config);
}

static void bad_names(void **state) {
    (void)state;
    bft_dialog_format *format;
    bft_config *config = CONFIG("DIALOG.CLIENT_NAMES", "['бот']", "DIALOG.OPERATOR_NAMES", "['Бот']");
    assert_int_equal(bft_dialog_format_create(&err, &format, config), BFT_BAD);
    assert_string_equal(err.message, "KEY VALUE pair: \"Бот\" is both a client's and an operator's name");
    bft_config_destroy(config);
    char words[400] = "['";
    memset(words + 2, 'x', 300);
    memcpy(words + 302, "']", 3);
    config = CONFIG("DIALOG.OPERATOR_NAMES", words);
    assert_int_equal(bft_dialog_format_create(&err, &format, config), BFT_BAD);
    assert_string_equal(err.message, "KEY VALUE pair: DIALOG.OPERATOR_NAMES: a name is UTF-8 text of 1 to 256 bytes");
    bft_config_destroy(config);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),     cmocka_unit_test(previous_speaker), cmocka_unit_test(nul_in_text),
        cmocka_unit_test(own_names), cmocka_unit_test(bad_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
