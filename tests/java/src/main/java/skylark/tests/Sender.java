package skylark.tests;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;

/** Sends messages 0 to count-1 to one topic in one of the four ways and reports what the broker answered. */
final class Sender {
    static final int BATCH = 32;
    private static final int ASYNC_IN_FLIGHT = 256;

    private final DefaultMQProducer producer;
    private final String topic;
    private final int count;
    private final String[] tags;

    private final AtomicInteger acked = new AtomicInteger();
    private final AtomicInteger failed = new AtomicInteger();
    private final AtomicReference<String> firstError = new AtomicReference<>();
    private final Set<String> places = ConcurrentHashMap.newKeySet();

    Sender(DefaultMQProducer producer, String topic, int count, String[] tags) {
        this.producer = producer;
        this.topic = topic;
        this.count = count;
        this.tags = tags;
    }

    /** Returns whether every message was accepted. */
    boolean run(String mode) throws InterruptedException {
        long start = System.nanoTime();
        switch (mode) {
            case "sync":
                sync();
                break;
            case "async":
                async();
                break;
            case "oneway":
                oneway();
                break;
            case "batch":
                batch();
                break;
            default:
                throw new Usage("--mode is sync, async, oneway or batch, not " + mode);
        }
        new Report("sent").put("mode", mode).put("topic", topic).put("count", count)
            .put("acked", acked.get()).put("failed", failed.get()).put("places", places.size())
            .put("error", firstError.get()).put("ms", TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start)).print();
        return failed.get() == 0 && acked.get() == count;
    }

    private void sync() throws InterruptedException {
        for (int i = 0; i < count; i++) {
            try {
                accept(producer.send(Content.message(topic, tags, i)), 1);
            } catch (InterruptedException stop) {
                throw stop;
            } catch (Exception refused) {
                fail(refused, 1);
            }
        }
    }

    private void async() throws InterruptedException {
        Semaphore room = new Semaphore(ASYNC_IN_FLIGHT);
        CountDownLatch open = new CountDownLatch(count);
        for (int i = 0; i < count; i++) {
            room.acquire();
            SendCallback callback = new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    accept(result, 1);
                    room.release();
                    open.countDown();
                }

                @Override
                public void onException(Throwable refused) {
                    fail(refused, 1);
                    room.release();
                    open.countDown();
                }
            };
            try {
                producer.send(Content.message(topic, tags, i), callback);
            } catch (InterruptedException stop) {
                throw stop;
            } catch (Exception refused) {
                callback.onException(refused);
            }
        }
        if (!open.await(60, TimeUnit.SECONDS)) {
            fail(new IllegalStateException(open.getCount() + " asynchronous sends were never answered"), (int) open.getCount());
        }
    }

    /** One-way sends get no answer: "acked" counts those that the client wrote. */
    private void oneway() throws InterruptedException {
        for (int i = 0; i < count; i++) {
            try {
                producer.sendOneway(Content.message(topic, tags, i));
                acked.incrementAndGet();
            } catch (InterruptedException stop) {
                throw stop;
            } catch (Exception refused) {
                fail(refused, 1);
            }
        }
    }

    private void batch() throws InterruptedException {
        for (int from = 0; from < count; from += BATCH) {
            List<Message> messages = new ArrayList<>();
            for (int i = from; i < Math.min(from + BATCH, count); i++) {
                messages.add(Content.message(topic, tags, i));
            }
            try {
                accept(producer.send(messages), messages.size());
            } catch (InterruptedException stop) {
                throw stop;
            } catch (Exception refused) {
                fail(refused, messages.size());
            }
        }
    }

    private void accept(SendResult result, int messages) {
        if (result.getSendStatus() != SendStatus.SEND_OK) {
            fail(new IllegalStateException("status " + result.getSendStatus()), messages);
            return;
        }
        boolean fresh = true;
        for (int i = 0; i < messages; i++) {
            fresh &= places.add(result.getMessageQueue().getBrokerName() + "/" + result.getMessageQueue().getQueueId()
                + "/" + (result.getQueueOffset() + i));
        }
        if (fresh) {
            acked.addAndGet(messages);
        } else {
            fail(new IllegalStateException("an offset was given twice: " + result), messages);
        }
    }

    private void fail(Throwable cause, int messages) {
        failed.addAndGet(messages);
        String text = String.valueOf(cause.getMessage() == null ? cause : cause.getMessage());
        firstError.compareAndSet(null, text.split("\n")[0]);
    }
}
