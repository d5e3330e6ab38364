package skylark.tests;

import java.nio.charset.StandardCharsets;
import org.apache.rocketmq.common.message.Message;

/**
 * What message number {@code index} of a topic looks like. The Rust side computes the same (tests/src/content.rs):
 * change both together.
 */
final class Content {
    /** Tags in turn. "Aa" and "BB" have the same Java hash code, so only a comparison of the strings tells them apart. */
    static final String[] TAGS = {"TagA", "TagB", "Aa", "BB"};

    /** Every so many messages one is long enough for the client to compress it. */
    static final int LONG_EVERY = 500;

    private static final int LONG_BYTES = 6000;

    private Content() {
    }

    static String tag(String[] tags, int index) {
        return tags[index % tags.length];
    }

    static String key(String topic, int index) {
        return topic + "-" + index;
    }

    static byte[] body(String topic, int index) {
        String head = topic + ":" + index + ":";
        int filler = index % LONG_EVERY == LONG_EVERY - 1 ? LONG_BYTES : index * 7 % 200;
        StringBuilder text = new StringBuilder(head.length() + filler).append(head);
        for (int i = 0; i < filler; i++) {
            text.append((char) ('a' + (index + i) % 26));
        }
        return text.toString().getBytes(StandardCharsets.UTF_8);
    }

    /** The index that a body claims, or -1 if it does not start like one of ours. */
    static int index(String topic, byte[] body) {
        String text = new String(body, 0, Math.min(body.length, topic.length() + 12), StandardCharsets.UTF_8);
        String head = topic + ":";
        int end = text.startsWith(head) ? text.indexOf(':', head.length()) : -1;
        if (end < 0) {
            return -1;
        }
        try {
            return Integer.parseInt(text.substring(head.length(), end));
        } catch (NumberFormatException notOurs) {
            return -1;
        }
    }

    static Message message(String topic, String[] tags, int index) {
        return new Message(topic, tag(tags, index), key(topic, index), body(topic, index));
    }
}
