package skylark.tests;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * A push consumer over one or more topics that judges what arrives: each index at most once, tag as subscribed, body,
 * key and tag as sent, and, within a queue, indexes that rise with the offset.
 */
final class Receiver {
    private static final class Seen {
        final BitSet indexes = new BitSet();
        final Map<Integer, TreeMap<Long, Integer>> queues = new HashMap<>();
        int count;
        int duplicates;
        int wrongTags;
        int foreign;
        int damaged;
    }

    private final DefaultMQPushConsumer consumer;
    private final Set<String> wanted;
    private final String[] tags;
    private final boolean print;
    private final Map<String, Seen> topics = new TreeMap<>();
    private int total;
    private long lastArrival = System.nanoTime();

    Receiver(String namesrv, String group, String[] topicNames, String expression, String[] tags, boolean print)
            throws MQClientException {
        this.tags = tags;
        this.print = print;
        wanted = "*".equals(expression) ? null : new HashSet<>(Arrays.asList(expression.split("\\s*\\|\\|\\s*")));
        consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName(group + "-" + System.nanoTime());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setConsumeThreadMin(4);
        consumer.setConsumeThreadMax(4);
        consumer.setConsumeMessageBatchMaxSize(32);
        for (String topic : topicNames) {
            topics.put(topic, new Seen());
            consumer.subscribe(topic, expression);
        }
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(this::take);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
    }

    /** Returns once every topic has queues assigned, so that "ready" means that nothing sent from now on is missed. */
    void start() throws MQClientException, InterruptedException {
        consumer.start();
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        while (!assigned()) {
            if (System.nanoTime() > end) {
                throw new IllegalStateException("no queue of " + topics.keySet() + " was assigned in 30 s:"
                    + " create the topics before the consumer starts, or look at the client's log");
            }
            TimeUnit.MILLISECONDS.sleep(20);
        }
        new Report("ready").print();
    }

    private boolean assigned() {
        Set<String> have = new HashSet<>();
        consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet()
            .forEach(queue -> have.add(queue.getTopic()));
        return have.containsAll(topics.keySet());
    }

    /**
     * Waits for {@code expect} messages and then {@code settleMs} for more that should not come; gives up when nothing
     * came for {@code idleMs}. Reports each topic and returns whether all was as it should be.
     */
    boolean finish(int expect, long idleMs, long settleMs) throws InterruptedException {
        synchronized (this) {
            lastArrival = System.nanoTime();
            while (total < expect && silentMs() < idleMs) {
                wait(Math.max(1, idleMs - silentMs()));
            }
            while (silentMs() < settleMs) {
                wait(Math.max(1, settleMs - silentMs()));
            }
        }
        consumer.shutdown();
        boolean good = true;
        synchronized (this) {
            for (Map.Entry<String, Seen> topic : topics.entrySet()) {
                Seen seen = topic.getValue();
                int disorder = seen.queues.values().stream().mapToInt(Receiver::steps).sum();
                good &= seen.duplicates + seen.wrongTags + seen.foreign + seen.damaged == 0;
                new Report("received").put("topic", topic.getKey()).put("count", seen.count)
                    .put("distinct", seen.indexes.cardinality()).put("last", seen.indexes.length() - 1)
                    .put("duplicates", seen.duplicates).put("wrongTags", seen.wrongTags)
                    .put("foreign", seen.foreign).put("damaged", seen.damaged).put("disorder", disorder).print();
            }
            good &= total == expect;
        }
        return good;
    }

    void shutdown() {
        consumer.shutdown();
    }

    private long silentMs() {
        return TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - lastArrival);
    }

    /** How often the index falls while the offset rises. */
    private static int steps(TreeMap<Long, Integer> queue) {
        int falls = 0;
        int before = -1;
        for (int index : queue.values()) {
            falls += index < before ? 1 : 0;
            before = index;
        }
        return falls;
    }

    private synchronized void take(MessageExt message) {
        total++;
        lastArrival = System.nanoTime();
        notifyAll();
        if (print) {
            new Report("message").put("topic", message.getTopic()).put("queue", message.getQueueId())
                .put("offset", message.getQueueOffset()).put("tag", message.getTags()).put("keys", message.getKeys())
                .put("body", new String(message.getBody(), StandardCharsets.UTF_8)).print();
        }
        Seen seen = topics.get(message.getTopic());
        if (seen == null) {
            seen = topics.computeIfAbsent("(not subscribed)", none -> new Seen());
            seen.foreign++;
            return;
        }
        seen.count++;
        if (wanted != null && !wanted.contains(message.getTags())) {
            seen.wrongTags++;
        }
        int index = Content.index(message.getTopic(), message.getBody());
        if (index < 0) {
            seen.foreign++;
            return;
        }
        if (!Arrays.equals(message.getBody(), Content.body(message.getTopic(), index))
                || !Content.tag(tags, index).equals(message.getTags())
                || !Content.key(message.getTopic(), index).equals(message.getKeys())) {
            seen.damaged++;
        }
        if (seen.indexes.get(index)) {
            seen.duplicates++;
        }
        seen.indexes.set(index);
        seen.queues.computeIfAbsent(message.getQueueId(), none -> new TreeMap<>()).put(message.getQueueOffset(), index);
    }
}
