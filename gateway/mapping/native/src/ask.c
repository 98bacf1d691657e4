#include "mapping.h"

enum { PHONE_QUESTION = MAX_FIELDS /* in the memo: the number of no field */ };

bool fail(mapping *mapping) {
    mapping->has_failed = true;
    return false;
}

static PyObject *text_object(text_view text) {
    return PyUnicode_DecodeUTF8((const char *)text.bytes, (Py_ssize_t)text.length, NULL);
}

/* Calls a function with a text. NULL with `has_failed`. */
static PyObject *call_with_text(mapping *mapping, PyObject *function, text_view text) {
    PyObject *argument = text_object(text);
    PyObject *result = argument != NULL ? PyObject_CallFunctionObjArgs(function, argument, NULL) : NULL;
    Py_XDECREF(argument);
    if (result == NULL) {
        fail(mapping);
    }
    return result;
}

/* Copies a hash, which is in lower case; false for another object. */
static bool read_hash_object(PyObject *object, char hash[HEX_HASH]) {
    Py_ssize_t length;
    const char *text = PyUnicode_Check(object) ? PyUnicode_AsUTF8AndSize(object, &length) : NULL;
    if (text == NULL || length != HEX_HASH) {
        PyErr_Clear();
        return false;
    }
    for (Py_ssize_t i = 0; i < HEX_HASH; i++) {
        uint8_t digit = (uint8_t)text[i];
        if (!is_digit(digit) && !(digit >= 'a' && digit <= 'f')) {
            return false;
        }
        hash[i] = text[i];
    }
    return true;
}

/* Reads a sequence of hashes. */
static void read_hashes(PyObject *given, answer *answer) {
    Py_ssize_t count = PySequence_Size(given);
    answer->kind = count > 0 && count <= MAX_FORMS ? ANSWER_HASHES : ANSWER_FALL_BACK;
    answer->count = (uint8_t)count;
    for (Py_ssize_t i = 0; answer->kind == ANSWER_HASHES && i < count; i++) {
        PyObject *hash = PySequence_GetItem(given, i);
        if (hash == NULL || !read_hash_object(hash, answer->hashes[i])) {
            PyErr_Clear();
            answer->kind = ANSWER_FALL_BACK;
        }
        Py_XDECREF(hash);
    }
}

/* Reads what the function `value` of plan.py returned; `given` is kept only as a text. */
static void read_answer(PyObject *given, answer *answer, PyObject **sent) {
    answer->kind = ANSWER_FALL_BACK;
    if (PyUnicode_Check(given)) {
        if (read_hash_object(given, answer->hashes[0])) {
            answer->kind = ANSWER_HASHES;
            answer->count = 1;
        } else {
            answer->kind = ANSWER_TEXT;
            Py_INCREF(given);
            *sent = given;
        }
    } else if (PyLong_Check(given)) { /* the number of a cause, or -1 */
        long cause = PyLong_AsLong(given);
        answer->kind = cause < 0 ? ANSWER_ABSENT : ANSWER_DROPPED;
        answer->cause = (uint8_t)(cause < 0 || cause >= MAX_CAUSES ? 0 : cause);
    } else if (PyList_Check(given) || PyTuple_Check(given)) {
        read_hashes(given, answer);
    }
}

/* For a country, Python returns the answer and the code. */
static bool take_code(PyObject **given, answer *answer) {
    const char *code;
    Py_ssize_t length;
    PyObject *value;
    if (!PyArg_ParseTuple(*given, "Oz#", &value, &code, &length)) {
        return false;
    }
    if (code != NULL && length == 2) {
        answer->country = (country_code){{code[0], code[1]}};
    }
    PyObject *pair = *given;
    Py_INCREF(value);
    *given = value;
    Py_DECREF(pair);
    return true;
}

bool ask_value(mapping *mapping, unsigned field, text_view text, country_code country, answer *answer,
               PyObject **sent) {
    value_key key = {text, country, (uint8_t)field};
    *sent = NULL;
    if (value_memo_get(mapping->destination->values, &key, answer)) {
        return true;
    }
    memset(answer, 0, sizeof(*answer));
    const char *letters = country.letters[0] != 0 ? country.letters : NULL;
    PyObject *given = PyObject_CallFunction(mapping->destination->ask.value, "Is#z#", field, (const char *)text.bytes,
                                            (Py_ssize_t)text.length, letters, (Py_ssize_t)2);
    if (given == NULL || (mapping->plan->fields[field].kind == KIND_country && !take_code(&given, answer))) {
        Py_XDECREF(given);
        return fail(mapping);
    }
    read_answer(given, answer, sent);
    Py_DECREF(given);
    if (answer->kind != ANSWER_FALL_BACK && answer->kind != ANSWER_TEXT) {
        value_memo_put(mapping->destination->values, &key, answer);
    }
    return answer->kind != ANSWER_FALL_BACK;
}

bool ask_is_complete(mapping *mapping, const normal_text *digits, bool *is_complete) {
    /* Whether a number is complete depends on its first four digits and on its length. */
    uint8_t question[5];
    memcpy(question, digits->bytes, 4);
    question[4] = (uint8_t)('A' + digits->length);
    value_key key = {{question, sizeof(question), true, true}, {{0, 0}}, PHONE_QUESTION};
    answer known;
    if (!value_memo_get(mapping->destination->values, &key, &known)) {
        PyObject *given = PyObject_CallFunction(mapping->destination->ask.is_complete, "s#n", (const char *)question,
                                                (Py_ssize_t)4, (Py_ssize_t)digits->length);
        if (given == NULL) {
            return fail(mapping);
        }
        memset(&known, 0, sizeof(known));
        known.kind = given == Py_True ? ANSWER_YES : ANSWER_NO;
        Py_DECREF(given);
        value_memo_put(mapping->destination->values, &key, &known);
    }
    *is_complete = known.kind == ANSWER_YES;
    return true;
}

bool ask_verdict(mapping *mapping, const json_value *name, uint32_t *verdict) {
    text_view text = text_of_string(name);
    if (name_memo_get(mapping->destination->names, text, name->hash, verdict)) {
        return true;
    }
    PyObject *given = call_with_text(mapping, mapping->destination->ask.name, text);
    if (given == NULL) {
        return false;
    }
    *verdict = (uint32_t)PyLong_AsUnsignedLong(given);
    Py_DECREF(given);
    if (PyErr_Occurred()) {
        return fail(mapping);
    }
    name_memo_put(mapping->destination->names, text, name->hash, *verdict);
    return true;
}

bool ask_screened(mapping *mapping, text_view text, PyObject **kept) {
    *kept = call_with_text(mapping, mapping->destination->ask.screen, text);
    if (*kept == Py_None) {
        Py_CLEAR(*kept);
    }
    return !mapping->has_failed;
}

bool ask_address(mapping *mapping, text_view text, PyObject **address) {
    *address = call_with_text(mapping, mapping->destination->ask.address, text);
    if (*address == Py_None) {
        Py_CLEAR(*address);
    }
    return *address != NULL;
}

bool leave_out(mapping *mapping, text_view name) {
    if (mapping->left_out == NULL && (mapping->left_out = PyList_New(0)) == NULL) {
        return fail(mapping);
    }
    PyObject *object = text_object(name);
    bool is_added = object != NULL && PyList_Append(mapping->left_out, object) == 0;
    Py_XDECREF(object);
    return is_added || fail(mapping);
}

bool put_object_text(mapping *mapping, PyObject *object) {
    Py_ssize_t length;
    const char *text = PyUnicode_AsUTF8AndSize(object, &length);
    if (text == NULL) {
        return fail(mapping);
    }
    buffer_put_string(&mapping->text, text_from(text, (size_t)length));
    return true;
}
