/* test_model_config.c: config.json of BERT and DistilBERT: defaults, refusals, labels, and what we write. */
#include "bertft/weights.h"
#include "base/file.h"
#include "base/json.h"
#include "scratch.h"

static void accept(const char *text, bft_model_config *config) {
    bft_error err = {0};
    scratch_write("config.json", text, strlen(text));
    if (bft_model_config_read(&err, config, ".") != BFT_OK) {
        fail_msg("%s: %s", text, err.message);
    }
}

static void refuse(const char *text, const char *words) {
    bft_error err = {0};
    bft_model_config config;
    scratch_write("config.json", text, strlen(text));
    assert_int_equal(bft_model_config_read(&err, &config, "."), BFT_BAD);
    assert_null(config.labels);
    if (strncmp(err.message, "./config.json:", 14) != 0 || strstr(err.message, words) == NULL) {
        fail_msg("%s: \"%s\" does not hold \"%s\"", text, err.message, words);
    }
}

static void defaults_of_transformers(void **state) {
    (void)state;
    bft_model_config c;
    accept("{\"model_type\":\"bert\"}", &c);
    assert_int_equal(c.architecture, BFT_BERT);
    assert_true(c.layers == 12 && c.channels == 768 && c.heads == 12 && c.feed_forward == 3072);
    assert_true(c.vocabulary == 30522 && c.positions == 512 && c.types == 2);
    assert_true(c.layer_norm_eps == 1e-12f);
    assert_true(c.hidden_dropout == 0.1f && c.attention_dropout == 0.1f && c.classifier_dropout == 0.1f);
    assert_int_equal(c.classes, 2);
    assert_string_equal(c.labels[1], "LABEL_1");
    assert_false(c.has_labels);
    assert_int_equal(c.problem, BFT_PROBLEM_NONE);
    assert_null(c.head);
    bft_model_config_free(&c);
    accept("{\"model_type\":\"distilbert\"}", &c);
    assert_int_equal(c.architecture, BFT_DISTILBERT);
    assert_true(c.layers == 6 && c.channels == 768 && c.heads == 12 && c.feed_forward == 3072 && c.types == 0);
    assert_true(c.layer_norm_eps == 1e-12f && c.hidden_dropout == 0.1f && c.classifier_dropout == 0.2f);
    bft_model_config_free(&c);
}

static void reads_every_field(void **state) {
    (void)state;
    bft_model_config c;
    accept("{\"model_type\":\"bert\",\"hidden_size\":312,\"num_hidden_layers\":3,\"num_attention_heads\":12,"
           "\"intermediate_size\":600,\"vocab_size\":83828,\"max_position_embeddings\":2048,\"type_vocab_size\":1,"
           "\"layer_norm_eps\":1e-5,\"hidden_dropout_prob\":0.2,\"attention_probs_dropout_prob\":0,"
           "\"classifier_dropout\":null,\"hidden_act\":\"gelu\",\"position_embedding_type\":\"absolute\","
           "\"is_decoder\":false,\"pruned_heads\":{},\"problem_type\":\"multi_label_classification\","
           "\"bertft_head\":\"mean\",\"something_else\":[1,2]}",
           &c);
    assert_true(c.channels == 312 && c.layers == 3 && c.heads == 12 && c.feed_forward == 600);
    assert_true(c.vocabulary == 83828 && c.positions == 2048 && c.types == 1 && c.layer_norm_eps == 1e-5f);
    assert_true(c.hidden_dropout == 0.2f && c.attention_dropout == 0 && c.classifier_dropout == 0.2f);
    assert_int_equal(c.problem, BFT_MULTI_LABEL);
    assert_string_equal(c.head, "mean");
    bft_model_config_free(&c);
    accept("{\"model_type\":\"bert\",\"classifier_dropout\":0.3,\"problem_type\":null}", &c);
    assert_true(c.classifier_dropout == 0.3f);
    bft_model_config_free(&c);
    accept(
        "{\"model_type\":\"distilbert\",\"dim\":264,\"n_layers\":3,\"n_heads\":12,\"hidden_dim\":792,\"dropout\":0.3,"
        "\"attention_dropout\":0.4,\"seq_classif_dropout\":0.5,\"activation\":\"gelu\",\"layer_norm_eps\":0.1,"
        "\"sinusoidal_pos_embds\":true,\"hidden_act\":\"relu\",\"problem_type\":\"regression\"}",
        &c);
    assert_true(c.channels == 264 && c.layers == 3 && c.feed_forward == 792 && c.layer_norm_eps == 1e-12f);
    assert_true(c.hidden_dropout == 0.3f && c.attention_dropout == 0.4f && c.classifier_dropout == 0.5f);
    assert_int_equal(c.problem, BFT_REGRESSION);
    bft_model_config_free(&c);
}

static void old_files(void **state) {
    (void)state;
    bft_model_config c;
    accept("{\"hidden_size\":256,\"num_hidden_layers\":12,\"num_attention_heads\":4,\"num_labels\":3}", &c);
    assert_int_equal(c.architecture, BFT_BERT);
    assert_int_equal(c.classes, 3);
    assert_string_equal(c.labels[2], "LABEL_2");
    bft_model_config_free(&c);
    accept("{\"hidden_size\":256,\"num_hidden_layers\":1,\"num_attention_heads\":4,\"num_labels\":50,"
           "\"id2label\":{\"0\":\"LABEL_0\",\"1\":\"LABEL_1\"},\"architectures\":[\"BertForSequenceClassification\"]}",
           &c);
    assert_int_equal(c.classes, 50); /* an id2label that nobody had touched */
    assert_false(c.has_labels);
    assert_string_equal(c.labels[49], "LABEL_49");
    bft_model_config_free(&c);
    refuse("{}", "has no \"model_type\"");
    refuse("{\"dim\":768,\"n_layers\":6}", "has no \"model_type\"");
    refuse("{\"hidden_size\":8,\"num_hidden_layers\":1,\"architectures\":[\"RobertaModel\"]}", "has no \"model_type\"");
}

/* Only the tasks whose models may have a "classifier" that isn't one of texts. */
static void tells_other_tasks(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"[\"BertForTokenClassification\"]", "TokenClassification"},
        {"[\"DistilBertForQuestionAnswering\"]", "QuestionAnswering"},
        {"[\"BertForMultipleChoice\"]", "MultipleChoice"},
        {"[\"BertForSequenceClassification\"]", NULL},
        {"[\"BertForMaskedLM\"]", NULL},
        {"[\"BertModel\"]", NULL},
        {"[]", NULL},
        {"null", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        bft_model_config c;
        snprintf(text, sizeof text, "{\"model_type\":\"bert\",\"architectures\":%s}", cases[i][0]);
        accept(text, &c);
        if (cases[i][1] == NULL) {
            assert_null(c.other_task);
        } else {
            assert_string_equal(c.other_task, cases[i][1]);
        }
        bft_model_config_free(&c);
    }
}

static void labels(void **state) {
    (void)state;
    bft_model_config c;
    accept("{\"model_type\":\"bert\",\"id2label\":{\"2\":\"z\",\"0\":\"\xd0\xb3\xd0\xbd\xd0\xb5\xd0\xb2\",\"1\":\"\"}}",
           &c);
    assert_int_equal(c.classes, 3);
    assert_true(c.has_labels);
    assert_string_equal(c.labels[0], "\xd0\xb3\xd0\xbd\xd0\xb5\xd0\xb2");
    assert_string_equal(c.labels[1], "");
    assert_string_equal(c.labels[2], "z");
    bft_model_config_free(&c);
    static const char *const wrong[][2] = {
        {"{}", "1 to 65536 labels"},
        {"[]", "1 to 65536 labels"},
        {"{\"1\":\"a\"}", "id \"1\" found, where 0 to 0"},
        {"{\"0\":\"a\",\"2\":\"b\"}", "id \"2\" found, where 0 to 1"},
        {"{\"0\":\"a\",\"01\":\"b\"}", "id \"01\""},
        {"{\"0\":\"a\",\"+1\":\"b\"}", "id \"+1\""},
        {"{\"0\":\"a\",\"\":\"b\"}", "id \"\""},
        {"{\"0\":\"a\",\"18446744073709551617\":\"b\"}", "id \"18446744073709551617\""},
        {"{\"0\":1}", "the label of id 0 is not a string"},
        {"{\"0\":\"a\\u0000b\"}", "the label of id 0 is not a string"},
        {"{\"0\":\"a\",\"1\":\"a\"}", "two ids have the label \"a\""},
        {"{\"0\":\"a\",\"0\":\"b\"}", "duplicate"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"model_type\":\"bert\",\"id2label\":%s}", wrong[i][0]);
        refuse(text, wrong[i][1]);
    }
    refuse("{\"model_type\":\"bert\",\"num_labels\":3,\"id2label\":{\"0\":\"a\"}}", "\"num_labels\" is 3, but");
    refuse("{\"model_type\":\"bert\",\"num_labels\":0}", "1 to 65536");
    refuse("{\"model_type\":\"bert\",\"num_labels\":70000}", "1 to 65536");
    refuse("{\"model_type\":\"bert\",\"num_labels\":\"3\"}", "1 to 65536");
}

static void refuses_what_we_cannot_do(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {"\"hidden_act\":\"gelu_new\"", "\"hidden_act\": gelu_new is not supported"},
        {"\"hidden_act\":5", "\"hidden_act\": this value is not supported"},
        {"\"position_embedding_type\":\"relative_key\"", "relative_key is not supported, only absolute"},
        {"\"is_decoder\":true", "\"is_decoder\" is not supported"},
        {"\"add_cross_attention\":true", "\"add_cross_attention\" is not supported"},
        {"\"pruned_heads\":{\"1\":[0]}", "\"pruned_heads\" are not supported"},
        {"\"problem_type\":\"ranking\"", "\"problem_type\": ranking"},
        {"\"bertft_head\":\"lstm\"", "\"bertft_head\": lstm"},
        {"\"num_hidden_layers\":0", "\"num_hidden_layers\" must be a whole number from 1 to 255"},
        {"\"num_hidden_layers\":1001", "\"num_hidden_layers\""},
        {"\"num_hidden_layers\":-1", "\"num_hidden_layers\""},
        {"\"num_hidden_layers\":3.0", "\"num_hidden_layers\""},
        {"\"num_hidden_layers\":\"3\"", "\"num_hidden_layers\""},
        {"\"hidden_size\":9223372036854775807", "\"hidden_size\""},
        {"\"hidden_size\":65537", "\"hidden_size\""},
        {"\"hidden_size\":770", "770 channels can't be shared by 12 attention heads"},
        {"\"num_attention_heads\":0", "\"num_attention_heads\""},
        {"\"vocab_size\":0", "\"vocab_size\""},
        {"\"hidden_dropout_prob\":1", "\"hidden_dropout_prob\" must be a number from 0"},
        {"\"hidden_dropout_prob\":-0.1", "\"hidden_dropout_prob\""},
        {"\"hidden_dropout_prob\":true", "\"hidden_dropout_prob\""},
        {"\"classifier_dropout\":-1", "\"classifier_dropout\""},
        {"\"layer_norm_eps\":0", "\"layer_norm_eps\" must be more than 0"},
        {"\"layer_norm_eps\":1e-60", "\"layer_norm_eps\" must be more than 0"},
        {"\"vocab_size\":5,\"vocab_size\":5", "duplicate"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"model_type\":\"bert\",%s}", wrong[i][0]);
        refuse(text, wrong[i][1]);
    }
    refuse("{\"model_type\":\"roberta\"}", "\"model_type\": roberta is not supported");
    refuse("{\"model_type\":7}", "\"model_type\": this value is not supported");
    refuse("{\"model_type\":\"distilbert\",\"activation\":\"relu\"}", "\"activation\": relu is not supported");
    refuse("[]", "a JSON object is expected");
    refuse("{\"model_type\":", "not JSON");
    refuse("", "not JSON");
    bft_error err = {0};
    bft_model_config config;
    assert_int_equal(bft_model_config_read(&err, &config, "nowhere"), BFT_BAD);
    assert_non_null(strstr(err.message, "nowhere/config.json: cannot open"));
}

/* What we write, we read back; and it is the JSON that transformers wants. */
static void writes(void **state) {
    (void)state;
    bft_error err = {0};
    char *names[] = {"joy", "a \"quoted\"\nlabel", "\xd0\xb3\xd0\xbd\xd0\xb5\xd0\xb2"};
    for (int i = BFT_BERT; i <= BFT_DISTILBERT; i++) {
        bft_model_config out = {.architecture = (bft_architecture)i,
                                .layers = 3,
                                .channels = 312,
                                .heads = 12,
                                .feed_forward = 600,
                                .vocabulary = 83828,
                                .positions = 2048,
                                .types = i == 0 ? 2 : 0,
                                .layer_norm_eps = 1e-12f,
                                .hidden_dropout = 0.1f,
                                .attention_dropout = 0.0f,
                                .classifier_dropout = 0.25f,
                                .classes = 3,
                                .labels = names,
                                .has_labels = true,
                                .problem = BFT_SINGLE_LABEL,
                                .head = "linear"};
        bft_model_config in;
        json_t *json;
        assert_int_equal(bft_model_config_write(&err, &out, "."), BFT_OK);
        assert_int_equal(bft_model_config_read(&err, &in, "."), BFT_OK);
        for (int k = 0; k < 3; k++) {
            assert_string_equal(in.labels[k], names[k]);
        }
        assert_string_equal(in.head, "linear");
        assert_true(in.layers == 3 && in.channels == 312 && in.heads == 12 && in.feed_forward == 600);
        assert_true(in.vocabulary == 83828 && in.positions == 2048 && in.types == out.types);
        assert_true(in.layer_norm_eps == out.layer_norm_eps && in.hidden_dropout == out.hidden_dropout);
        assert_true(in.attention_dropout == 0.0f && in.classifier_dropout == 0.25f);
        assert_true(in.architecture == out.architecture && in.problem == BFT_SINGLE_LABEL && in.has_labels);
        bft_model_config_free(&in);
        assert_int_equal(bft_json_read(&err, "config.json", 1 << 16, &json), BFT_OK);
        const char *dropout = i == 0 ? "hidden_dropout_prob" : "dropout";
        const char *attention = i == 0 ? "attention_probs_dropout_prob" : "attention_dropout";
        assert_true(json_real_value(json_object_get(json, dropout)) == 0.1); /* not 0.100000001 */
        assert_true(json_is_real(json_object_get(json, attention)));         /* 0.0, a float */
        assert_string_equal(json_string_value(json_array_get(json_object_get(json, "architectures"), 0)),
                            i == 0 ? "BertForSequenceClassification" : "DistilBertForSequenceClassification");
        assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "label2id"), names[1])), 1);
        json_decref(json);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_of_transformers),
        cmocka_unit_test(reads_every_field),
        cmocka_unit_test(old_files),
        cmocka_unit_test(tells_other_tasks),
        cmocka_unit_test(labels),
        cmocka_unit_test(refuses_what_we_cannot_do),
        cmocka_unit_test(writes),
    };
    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
