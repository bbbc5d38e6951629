#include "media/xmp.h"

#include <stdbool.h>
#include <string.h>

#include <utf8proc.h>

/* Where a key goes. XMP calls the text of these properties a choice of languages, ours an only string. */
struct place {
    const char *prefix, *name;
    bool languages;
};

static struct place place_of(const char *key)
{
    if (!strcmp(key, "title") || !strcmp(key, "description")) return (struct place){"dc", key, true};
    if (!strcmp(key, "comment")) return (struct place){"exif", "UserComment", true};
    return (struct place){"wan", key, false};
}

static bool is_xml_name(const char *s)
{
    for (size_t i = 0; s[i]; i++) {
        bool letter = (s[i] | 0x20) >= 'a' && (s[i] | 0x20) <= 'z';
        bool inner = (s[i] >= '0' && s[i] <= '9') || s[i] == '-' || s[i] == '.';
        if (!letter && s[i] != '_' && !(i && inner)) return false;
    }
    return *s;
}

static bool is_xml_char(utf8proc_int32_t c)
{
    return c >= 0x20 ? c != 0xfffe && c != 0xffff : c == '\t' || c == '\n' || c == '\r';
}

/* 0, or -1: no memory. */
static int add_escaped(struct wn_str *out, const char *text)
{
    const utf8proc_uint8_t *s = (const utf8proc_uint8_t *)text;
    int bad = 0;
    for (size_t n = strlen(text); n && !bad;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t used = utf8proc_iterate(s, (utf8proc_ssize_t)n, &c);
        bool valid = used > 0 && is_xml_char(c);
        if (used <= 0) used = 1;
        switch (valid ? c : -1) {
        case -1: bad = wn_str_add(out, "\xef\xbf\xbd", 3); break;
        case '&': bad = wn_str_add(out, "&amp;", 5); break;
        case '<': bad = wn_str_add(out, "&lt;", 4); break;
        case '>': bad = wn_str_add(out, "&gt;", 4); break;
        case '\r': bad = wn_str_add(out, "&#xD;", 5); break; /* a reader would make it a newline */
        default: bad = wn_str_add(out, s, (size_t)used);
        }
        s += used;
        n -= (size_t)used;
    }
    return bad;
}

static int add_property(struct wn_str *out, const struct wn_media_text *t)
{
    struct place p = place_of(t->key);
    return wn_str_addf(out, "<%s:%s>%s", p.prefix, p.name,
                       p.languages ? "<rdf:Alt><rdf:li xml:lang=\"x-default\">" : "") ||
           add_escaped(out, t->value) ||
           wn_str_addf(out, "%s</%s:%s>\n", p.languages ? "</rdf:li></rdf:Alt>" : "", p.prefix, p.name);
}

enum wan_status wn_xmp_add(struct wn_str *out, const char *path, const struct wn_media_text *text, size_t n,
                           struct wn_err *err)
{
    static const char head[] =
        "<?xpacket begin=\"\xef\xbb\xbf\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n"
        "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n"
        "<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n"
        "<rdf:Description rdf:about=\"\" xmlns:dc=\"http://purl.org/dc/elements/1.1/\" "
        "xmlns:exif=\"http://ns.adobe.com/exif/1.0/\" xmlns:wan=\"urn:wan.c:remark\">\n";
    static const char tail[] = "</rdf:Description>\n</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end=\"r\"?>";
    for (size_t i = 0; i < n; i++)
        if (!is_xml_name(text[i].key))
            return wn_fail(err, WAN_EINVAL, "%s: \"%s\" cannot be the name of a remark in XMP", path,
                           text[i].key);
    int bad = wn_str_add(out, head, sizeof head - 1);
    for (size_t i = 0; i < n && !bad; i++) bad = add_property(out, &text[i]);
    if (!bad) bad = wn_str_add(out, tail, sizeof tail - 1);
    return bad ? wn_fail_nomem(err, path, out->n) : WAN_OK;
}
